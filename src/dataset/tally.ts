/** What a pass over the inputs counts. */

import type { Fault } from '../errors.ts'

/** Bad rows kept as examples. */
const EXAMPLES = 5

/** Sources counted by name; rows of any further ones are counted together. */
const SOURCES = 10_000

export interface DatasetReport {
  /** Whether a whole pass was made; else the counts are of what was read so far. */
  complete: boolean
  /** Good rows. */
  rows: number
  /** Blank lines, passed over. */
  blank: number
  /** The first five bad rows. */
  bad: Fault[]
  /** All bad rows, empty responses included. */
  badCount: number
  /** Bad rows of code `empty-response`. */
  emptyResponses: number
  /** Rows equal to an earlier one in turns and loss mask. They stay rows. */
  duplicates: number
  /** sha256 of each input's bytes, in order; empty until complete. */
  hashes: string[]
  /** Rows of each source, most first, ties by name; rows without a source are not in it. */
  sources: { source: string; rows: number }[]
  /** Rows of sources beyond the first 10,000 names. */
  otherSources: number
}

export interface Tally {
  rows: number
  blank: number
  badCount: number
  emptyResponses: number
  duplicates: number
  complete: boolean
  hashes: string[]
  examples: Fault[]
  inputRows: number[]
  sources: Map<string, number>
  otherSources: number
  good(input: number, source: string | undefined): void
  bad(input: number, fault: Fault): void
  /** Ordinals of bad records in each input. */
  skipped(): Uint32Array[]
}

export function tally(inputs: number): Tally {
  const skipped: number[][] = Array.from({ length: inputs }, () => [])
  const counts: Tally = {
    rows: 0,
    blank: 0,
    badCount: 0,
    emptyResponses: 0,
    duplicates: 0,
    complete: false,
    hashes: [],
    examples: [],
    inputRows: new Array(inputs).fill(0),
    sources: new Map(),
    otherSources: 0,
    good(input, source) {
      counts.rows++
      counts.inputRows[input]++
      if (source === undefined) return
      const { sources } = counts
      const seen = sources.get(source)
      if (seen !== undefined || sources.size < SOURCES) sources.set(source, (seen ?? 0) + 1)
      else counts.otherSources++
    },
    bad(input, fault) {
      skipped[input].push(counts.inputRows[input] + skipped[input].length)
      counts.badCount++
      if (fault.code === 'empty-response') counts.emptyResponses++
      if (counts.examples.length < EXAMPLES) counts.examples.push(fault)
    },
    skipped: () => skipped.map((ordinals) => Uint32Array.from(ordinals)),
  }
  return counts
}

export function reportOf(counts: Tally): DatasetReport {
  const { complete, rows, blank, badCount, emptyResponses, duplicates, hashes, otherSources } = counts
  const sources = [...counts.sources].map(([source, count]) => ({ source, rows: count }))
  sources.sort((a, b) => b.rows - a.rows || (a.source < b.source ? -1 : 1))
  const bad = [...counts.examples]
  return { complete, rows, blank, bad, badCount, emptyResponses, duplicates, hashes, sources, otherSources }
}
