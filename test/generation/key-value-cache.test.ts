import fc from 'fast-check'
import { expect, it } from 'vitest'
import { input } from '../../src/engine/tensor.ts'
import { KeyValueCache } from '../../src/generation/key-value-cache.ts'
import { cacheInputs, selfAttention } from '../../src/models/heads.ts'

const [groups, size, slots, longest] = [2, 3, 4, 300]

/** Two layers of a model with such heads. */
function layers() {
  const cache = cacheInputs()
  for (const layer of [0, 1]) {
    const head = (name: string) => input(`${name}${layer}`, ['batch', groups, 'length', size])
    selfAttention(head('q'), head('k'), head('v'), 1, cache)
  }
  return cache.layers
}

const step = fc.record({
  kind: fc.constantFrom('append', 'move', 'reserve'),
  slot: fc.nat(slots - 1),
  other: fc.nat(slots - 1),
  length: fc.integer({ min: 1, max: 90 }),
})

it('keeps what each slot was given, however room grows and shrinks', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      const cache = new KeyValueCache(layers(), slots, longest)
      /** Of each slot, a number for each token; what is stored of it follows from that. */
      let held: number[][] = Array.from({ length: slots }, () => [])
      let counter = 0
      const stored = (token: number, side: number, group: number, c: number) => token * 100 + side * 20 + group * 5 + c
      const reserve = () => cache.reserve(Math.max(1, ...held.map((tokens) => tokens.length)), slots)
      reserve()
      for (const { kind, slot, other, length } of steps) {
        if (kind === 'reserve') {
          held[slot] = []
          reserve()
        } else if (kind === 'move') {
          cache.move(slot, other, held[slot].length)
          held = held.with(other, [...held[slot]])
        } else if (held[slot].length + length <= longest) {
          const tokens = Array.from({ length }, () => ++counter)
          const before = held[slot].length
          held[slot].push(...tokens)
          reserve()
          // The second of two rows of a run.
          const entries = Object.fromEntries(
            ['present/0/keys', 'present/0/values', 'present/1/keys', 'present/1/values'].map((name, side) => {
              const row = Array.from({ length: groups }, (_, group) =>
                tokens.flatMap((token) => Array.from({ length: size }, (_, c) => stored(token, side, group, c))),
              ).flat()
              return [name, Float32Array.from([...row.map(() => -1), ...row])]
            }),
          )
          cache.write(slot, before, entries, 1, length)
        }
      }
      cache.views(slots).forEach(({ data, dims }, side) => {
        const [, , capacity] = dims
        expect(dims).toEqual([slots, groups, capacity, size])
        expect(capacity % 64).toBe(0)
        held.forEach((tokens, slot) => {
          for (let group = 0; group < groups; group++) {
            const from = (slot * groups + group) * capacity * size
            const expected = tokens.flatMap((token) =>
              Array.from({ length: size }, (_, c) => stored(token, side, group, c)),
            )
            expect([...data.subarray(from, from + tokens.length * size)]).toEqual(expected)
          }
        })
        expect(data.every(Number.isFinite)).toBe(true)
      })
    }),
    { numRuns: 60 },
  )
})
