import { describe, expect, it } from 'vitest'
import { philox, randomStream, randomWords, sample, shuffle } from '../../src/random/philox.ts'

describe('philox', () => {
  // Known answers of Random123 (kat_vectors, philox 4x32 10 rounds).
  it.each([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [Array(4).fill(0xffffffff), Array(2).fill(0xffffffff), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ])('meets the published vectors', (counter, key, expected) => {
    expect([...philox(counter, key)]).toEqual(expected)
  })

  it('gives the same stream for the same seed, purpose and id, and another for another', () => {
    const draw = (seed: number, purpose: string, id: number) => {
      const stream = randomStream(seed, purpose, id)
      return Array.from({ length: 8 }, () => stream.uint32())
    }
    expect(draw(1, 'a', 2)).toEqual(draw(1, 'a', 2))
    expect(draw(1, 'a', 2)).not.toEqual(draw(2, 'a', 2))
    expect(draw(1, 'a', 2)).not.toEqual(draw(1, 'b', 2))
    expect(draw(1, 'a', 2)).not.toEqual(draw(1, 'a', 3))
    expect(draw(1, 'a', 2)).not.toEqual(draw(1 + 2 ** 32, 'a', 2))
  })

  it('gives the same words at once as one by one', () => {
    for (const length of [0, 1, 2, 3, 4, 7, 100]) {
      const stream = randomStream(2 ** 40 + 5, 'words', 2 ** 35 + 1)
      const words = randomWords(2 ** 40 + 5, 'words', 2 ** 35 + 1, new Uint32Array(length))
      expect([...words]).toEqual(Array.from({ length }, () => stream.uint32()))
    }
  })

  it('draws uniforms and normals with the right moments', () => {
    const stream = randomStream(7, 'moments')
    const n = 100_000
    let [mean, normalMean, normalSquare] = [0, 0, 0]
    for (let i = 0; i < n; i++) {
      const u = stream.uniform()
      if (!(u >= 0 && u < 1)) throw new Error(`uniform out of range: ${u}`)
      mean += u / n
      const z = stream.normal()
      normalMean += z / n
      normalSquare += (z * z) / n
    }
    expect(mean).toBeCloseTo(0.5, 2)
    expect(normalMean).toBeCloseTo(0, 1.5)
    expect(normalSquare).toBeCloseTo(1, 1.5)
  })

  it('samples without replacement and shuffles without loss', () => {
    const items = Uint32Array.from({ length: 50 }, (_, i) => i)
    const drawn = sample(items, 20, randomStream(3, 'sample'))
    expect(new Set(drawn).size).toBe(20)
    expect([...shuffle(items.slice(), randomStream(3, 'shuffle'))].sort((a, b) => a - b)).toEqual([...items])
    expect(() => sample(items, 51, randomStream(3, 'sample'))).toThrow(/51 of 50/)
  })
})
