/** Keys and values of the texts that are being decoded together, each text in a slot. Plain memory: the graph reads it where it lies. */

import type { Cache } from '../models/heads.ts'

/** Slots grow by this many tokens. Sums over a cache of whole blocks do not depend on how many there are: see `cachedAttention`. */
const BLOCK = 64

const wholeBlocks = (tokens: number) => Math.ceil(tokens / BLOCK) * BLOCK

interface Side {
  /** Name of the graph's input, and of its output with what is to be appended. */
  input: string
  output: string
  groups: number
  size: number
  /** [slots, groups, capacity, size], row-major. */
  data: Float32Array
}

export interface Entries {
  /** Output of the graph by name, [batch, groups, length, size]. */
  [output: string]: Float32Array
}

/**
 * Memory for `slots` texts of at most `longest` tokens: slots * longest * 2 * 4 bytes for each of the keys' columns and each layer, of which the
 * system gives what is written to.
 */
export class KeyValueCache {
  readonly slots: number
  private readonly sides: Side[]
  private readonly most: number
  private tokens = 0

  constructor(layers: Cache['layers'], slots: number, longest: number) {
    this.slots = slots
    this.most = wholeBlocks(longest)
    this.sides = cacheSides(layers).map((side) => ({
      ...side,
      data: new Float32Array(slots * side.groups * this.most * side.size),
    }))
  }

  /** Tokens that each slot has room for at present: whole blocks. */
  get capacity(): number {
    return this.tokens
  }

  /** Makes room for `tokens` in each of the first `used` slots; gives room back when far less is needed. O(what is kept). */
  reserve(tokens: number, used: number): void {
    const wanted = wholeBlocks(tokens)
    if (wanted <= this.tokens && wanted > this.tokens - 2 * BLOCK) return
    const [from, to] = [this.tokens, wanted]
    for (const { data, groups, size } of this.sides) {
      const kept = Math.min(from, to) * size
      const count = used * groups
      // In place: from the last to the first where they move up, from the first to the last where they move down.
      for (let i = 0; i < count; i++) {
        const strip = to > from ? count - 1 - i : i
        data.copyWithin(strip * to * size, strip * from * size, strip * from * size + kept)
      }
    }
    this.tokens = to
  }

  /** Copies row `row` of what a run gave, `length` tokens, into a slot behind its first `at` tokens. */
  write(slot: number, at: number, entries: Entries, row: number, length: number): void {
    for (const { output, groups, size, data } of this.sides) {
      const from = entries[output]
      for (let group = 0; group < groups; group++) {
        const source = (row * groups + group) * length * size
        const target = ((slot * groups + group) * this.tokens + at) * size
        if (length * size > 256) data.set(from.subarray(source, source + length * size), target)
        else for (let i = 0; i < length * size; i++) data[target + i] = from[source + i]
      }
    }
  }

  /** Copies a slot's first `length` tokens to another slot. */
  move(from: number, to: number, length: number): void {
    for (const { data, groups, size } of this.sides) {
      for (let group = 0; group < groups; group++) {
        const source = (from * groups + group) * this.tokens * size
        data.copyWithin((to * groups + group) * this.tokens * size, source, source + length * size)
      }
    }
  }

  /** The first `used` slots as inputs of the graph. */
  views(used: number): { name: string; data: Float32Array; dims: number[] }[] {
    return this.sides.map(({ input, groups, size, data }) => ({
      name: input,
      data: data.subarray(0, used * groups * this.tokens * size),
      dims: [used, groups, this.tokens, size],
    }))
  }
}

/** Inputs and outputs of a cached graph, layer by layer, keys before values. */
export const cacheSides = (layers: Cache['layers']): Omit<Side, 'data'>[] =>
  layers.flatMap(({ past }, layer) =>
    (['keys', 'values'] as const).map((name) => {
      const [, groups, , size] = past[name].shape as [unknown, number, unknown, number]
      return { input: past[name].node.name as string, output: `present/${layer}/${name}`, groups, size }
    }),
  )
