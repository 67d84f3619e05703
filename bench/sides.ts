/** What benchmarks against peers share: timing, the ratios of alternating sides, a pool as tokens, the machine. */

import { cpus, release, totalmem } from 'node:os'
import { openDataset } from '../src/dataset/dataset.ts'
import type { PoolRecord } from '../src/dataset/record.ts'
import { loadTokenizer } from '../src/tokenizer/load.ts'
import { trainTokenizer } from '../src/tokenizer/train.ts'
import type { TokenRows } from '../src/training/rows.ts'

export const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]
/** Of this process, so far. */
export const peakMiB = (): number => process.resourceUsage().maxRSS / 1024

/** A result with the seconds that it took, and those of processor time of all threads. */
export async function timed<T>(work: () => Promise<T>): Promise<{ value: T; seconds: number; cpu: number }> {
  const before = process.cpuUsage()
  const start = performance.now()
  const value = await work()
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(before)
  return { value, seconds, cpu: (user + system) / 1e6 }
}

export interface Block {
  /** Seconds, and seconds of processor time, of each step (training) or block (scoring). */
  seconds: number[]
  cpu: number[]
  peakMiB: number
}

/** Blocks by side; `winnow` is the one that others are compared with. */
export type Sides = Record<string, Block>

export function addBlock(sides: Sides, side: string, seconds: number[], cpu: number[], peak: number): void {
  sides[side] ??= { seconds: [], cpu: [], peakMiB: 0 }
  sides[side].seconds.push(...seconds)
  sides[side].cpu.push(...cpu)
  sides[side].peakMiB = peak
}

/** Medians by side, and how many times longer each peer takes than winnow; `tokens` of a step or block. */
export function summary(sides: Sides, tokens: number) {
  const here = sides.winnow
  return {
    sides: Object.fromEntries(
      Object.entries(sides).map(([side, { seconds, cpu, peakMiB }]) => [
        side,
        {
          tokensPerSecond: Math.round(tokens / median(seconds)),
          medianSeconds: median(seconds),
          leastSeconds: Math.min(...seconds),
          medianCpuSeconds: median(cpu),
          peakMiB: Math.round(peakMiB),
        },
      ]),
    ),
    ratios: Object.fromEntries(
      Object.entries(sides)
        .filter(([side]) => side !== 'winnow')
        .map(([side, { seconds, cpu }]) => [
          side,
          {
            median: median(seconds) / median(here.seconds),
            least: Math.min(...seconds) / Math.min(...here.seconds),
            cpu: median(cpu) / median(here.cpu),
          },
        ]),
    ),
  }
}

/** A pool as tokens of a tokenizer that is trained on it. */
export async function tokenisePool(pool: string, vocabularySize: number): Promise<TokenRows> {
  const records: PoolRecord[] = []
  for await (const batch of (await openDataset([pool], { onBadRow: 'skip' })).batches()) records.push(...batch.records)
  const texts = records.flatMap(({ turns }) => turns.map(({ content }) => content))
  const tokenizer = loadTokenizer(trainTokenizer(texts, { vocabularySize }).json)
  const tokens = records.map(({ turns }) => tokenizer.encodeTurns(turns))
  return {
    count: tokens.length,
    lengths: Uint32Array.from(tokens, (row) => row.length),
    labels: Uint32Array.from(tokens, (row) => row.reduce((sum, token) => sum + (token >>> 31), 0)),
    read: (row) => tokens[row],
  }
}

/** Rows nearest to `length` tokens from below, in turn: `count` batches, each to be padded to `length`. */
export function likeRows(rows: TokenRows, batch: number, length: number, count: number): Uint32Array[] {
  const fitting = Array.from(rows.lengths.keys())
    .filter((row) => rows.lengths[row] <= length && rows.labels[row] > 0)
    .sort((a, b) => rows.lengths[b] - rows.lengths[a])
    .slice(0, batch * count)
  return Array.from({ length: count }, (_, b) =>
    Uint32Array.from({ length: batch }, (_, i) => fitting[(b * batch + i) % fitting.length]),
  )
}

/** [batches, batch, length] uint32, bit 31 = the token carries loss: what train_torch.py reads. */
export function tokenFile(rows: TokenRows, batches: Uint32Array[], length: number): Uint32Array {
  const file = new Uint32Array(batches.reduce((sum, batch) => sum + batch.length, 0) * length)
  let at = 0
  for (const row of batches.flatMap((batch) => [...batch])) {
    file.set(rows.read(row).subarray(0, length), at)
    at += length
  }
  return file
}

/** N, the row lengths, all tokens: what score_hf.py reads. */
export const poolFile = (rows: TokenRows): Uint32Array =>
  Uint32Array.from([
    rows.count,
    ...rows.lengths,
    ...Array.from(rows.lengths.keys()).flatMap((row) => [...rows.read(row)]),
  ])

export const machine = () => ({
  cpu: cpus()[0].model,
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  kernel: release(),
  node: process.version,
})
