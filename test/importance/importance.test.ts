import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sha256Buckets } from '../../src/importance/buckets.ts'
import { hasher } from '../../src/importance/hasher.ts'
import { BUCKETS, bucketCounter, importanceWeigher, logRatio } from '../../src/importance/importance.ts'
import { kindOf, PUNCTUATION, pointAt, SPACE, WORD } from '../../src/importance/words.ts'
import { referenceBucket, referenceBuckets, referenceCounts } from './reference.ts'

const fixture = (name: string) =>
  JSON.parse(readFileSync(new URL(`../fixtures/importance/${name}`, import.meta.url), 'utf8'))
const features = fixture('features.json')
const characters = fixture('characters.json')

function sparse(counts: Float64Array): number[][] {
  const found: number[][] = []
  for (let bucket = 0; bucket < counts.length; bucket++) if (counts[bucket] !== 0) found.push([bucket, counts[bucket]])
  return found
}

function countsOf(texts: string[], options: Parameters<typeof bucketCounter>[0] = {}): Float64Array {
  const counter = bucketCounter(options)
  for (const text of texts) counter.add(text)
  return counter.counts
}

/** Strings that mix everything: whole Unicode, lone surrogates, few words often. */
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)), maxLength: 60 }),
  fc
    .array(fc.constantFrom('the', 'Cat', ' ', ' ', '\n', '...', 'ΑΣ', 'é', '漢字', '😀', '\ud800', '_', '7'), {
      maxLength: 80,
    })
    .map((parts) => parts.join('')),
)

describe('buckets', () => {
  it.each(features.texts as { text: string; tokens: number; counts: number[][] }[])("are the authors' for $text", ({
    text,
    tokens,
    counts,
  }) => {
    const found = countsOf([text])
    expect(sparse(found)).toEqual(counts)
    expect(found.reduce((a, b) => a + b, 0)).toBe(Math.max(0, 2 * tokens - 1))
  })

  it.each(
    features.small as { text: string; buckets: number; counts: number[][] }[],
  )("are the authors' when there are $buckets", ({ text, buckets, counts }) => {
    expect(sparse(countsOf([text], { buckets }))).toEqual(counts)
  })

  it("are the authors' over all texts of the example pool", () => {
    const counter = bucketCounter()
    for (const line of readFileSync(new URL('../../examples/math.jsonl', import.meta.url), 'utf8').split('\n'))
      if (line !== '')
        for (const value of Object.values(JSON.parse(line))) if (typeof value === 'string') counter.add(value)
    expect(counter.texts).toBe(features.example.texts)
    expect(counter.counts.reduce((a, b) => a + b, 0)).toBe(features.example.ngrams)
    const bytes = new Uint8Array(counter.counts.buffer)
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(features.example.sha256)
  })

  it('are those of the slow reference for any text', () => {
    fc.assert(
      fc.property(fc.array(anyText, { maxLength: 4 }), (texts) => {
        expect(countsOf(texts, { buckets: 997 })).toEqual(referenceCounts(texts, 997))
      }),
      { numRuns: 100 },
    )
  })

  it('stay the same when caches overflow, at any size of the caches', () => {
    fc.assert(
      fc.property(fc.array(anyText, { maxLength: 4 }), fc.integer({ min: 0, max: 4 }), (texts, bits) => {
        const buckets = sha256Buckets(2 ** 21, { tokens: 1 << bits, pairs: 1 << bits })
        for (const text of [...texts, ...texts]) {
          const found: number[] = []
          buckets(text, (batch, count) => found.push(...batch.subarray(0, count)))
          expect(found).toEqual(referenceBuckets(text, 2 ** 21))
        }
      }),
      { numRuns: 100 },
    )
  })

  it('of a lone surrogate are those of U+FFFD', () => {
    expect(countsOf(['a \ud800 b \udc00\ud800'])).toEqual(countsOf(['a \ufffd b \ufffd\ufffd']))
  })

  it('come from texts of any length: a million units in one token, in one-letter tokens, in blanks', () => {
    const long = 'x'.repeat(1_000_000)
    expect(countsOf([`${long} y`])).toEqual(referenceCounts([`${long} y`], BUCKETS))
    expect(countsOf(['x '.repeat(500_000)]).reduce((a, b) => a + b, 0)).toBe(999_999)
    expect(sparse(countsOf([' '.repeat(1_000_000)]))).toEqual([])
  })
})

describe('fast buckets', () => {
  it('count as many n-grams, repeat, and tell apart texts, order and neighbours', () => {
    const fast = (text: string) => countsOf([text], { hash: 'fast' })
    fc.assert(
      fc.property(anyText, (text) => {
        expect(fast(text)).toEqual(fast(text))
        expect(fast(text).reduce((a, b) => a + b, 0)).toBe(referenceBuckets(text, 7).length)
      }),
      { numRuns: 100 },
    )
    expect(fast('the cat sat')).not.toEqual(fast('sat cat the'))
    expect(fast('THE CAT')).toEqual(fast('the cat'))
  })

  it('are spread evenly: chi-squared of 200,000 numbered words over 1,000 buckets within 5 deviations', () => {
    const counts = countsOf(
      Array.from({ length: 200_000 }, (_, i) => `w${i}`),
      { hash: 'fast', buckets: 1000 },
    )
    const chi = counts.reduce((sum, count) => sum + (count - 200) ** 2 / 200, 0)
    expect(Math.abs(chi - 999)).toBeLessThan(5 * Math.sqrt(2 * 999))
  })
})

describe('hashes', () => {
  it('end where the text ends, though it be cut from a longer one between the halves of a character, compiled or not', () => {
    const long = 'aé漢😀'.repeat(40)
    const cut = Array.from({ length: 40 }, (_, i) => long.slice(0, 5 * i + 4))
    for (let round = 0; round < 200; round++)
      for (const text of cut) {
        const end = text.length
        if (pointAt(text, end - 1, end) !== 0xd83d) expect.unreachable(`round ${round}`)
        if (pointAt(long, end - 1, long.length) !== 0x1f600) expect.unreachable(`round ${round}`)
      }
    const texts = cut.map((text) => text.slice(3))
    for (let round = 0; round < 20; round++) {
      const counter = bucketCounter()
      for (const text of texts) counter.add(text)
      expect(counter.counts).toEqual(referenceCounts(texts, BUCKETS))
    }
  })

  it("are Node's at every length around the ends of blocks, in any lane, in any order of short and long", () => {
    const found: number[] = []
    const { begin, extend, hash, finish } = hasher(2_097_143, (position, bucket) => {
      found[position] = bucket
    })
    const texts = Array.from({ length: 260 }, (_, i) => 'aé漢😀'.repeat(40).slice(0, (i * 37) % 131))
    texts.forEach((text, i) => {
      begin(text, 0, text.length)
      extend('xyz', 0, i % 4)
      hash(i)
    })
    finish()
    expect(found).toEqual(texts.map((text, i) => referenceBucket(`${text} ${'xyz'.slice(0, i % 4)}`, 2_097_143)))
  })
})

describe('characters', () => {
  const every = function* (ranges: [number, number][]) {
    for (const [first, last] of ranges) for (let code = first; code <= last; code++) yield code
  }

  it(`are words and spaces as to Python, each that Unicode ${characters.unicode} assigns`, () => {
    const word = new Set(every(characters.word))
    const space = new Set(every(characters.space))
    const differing = [...every(characters.assigned)].filter(
      (code) => kindOf(code) !== (word.has(code) ? WORD : space.has(code) ? SPACE : PUNCTUATION),
    )
    expect(differing).toEqual([])
  })

  it('have the lower case that they have in Python', () => {
    const lower = new Map<number, string>(characters.lower)
    const differing = [...every(characters.assigned)].filter((code) => {
      const character = String.fromCodePoint(code)
      return character.toLowerCase() !== (lower.get(code) ?? character)
    })
    // Capitals whose small letters came with Unicode 15 or later.
    expect(differing.map((code) => code.toString(16))).toEqual([])
  })
})

describe('log ratio', () => {
  it('is log(p + 1e-8) - log(q + 1e-8) of normalised counts', () => {
    const ratio = logRatio(Float64Array.of(3, 1, 0, 0), Float64Array.of(10, 20, 70, 0))
    const p = [0.75, 0.25, 0, 0]
    const q = [0.1, 0.2, 0.7, 0]
    expect([...ratio]).toEqual(p.map((value, i) => Math.log(value + 1e-8) - Math.log(q[i] + 1e-8)))
    expect(ratio[3]).toBe(0)
  })

  it.each([
    ['different lengths', [1, 2], [1], 'bad-counts'],
    ['a negative count', [1, -1], [1, 1], 'bad-counts'],
    ['a count that is no number', [1, 1], [1, NaN], 'bad-counts'],
    ['an infinite count', [1, 1], [1, Infinity], 'bad-counts'],
    ['a target without n-grams', [0, 0], [1, 1], 'no-ngrams'],
    ['a pool without n-grams', [1, 1], [0, 0], 'no-ngrams'],
  ])('refuses %s', (_, target, pool, code) => {
    expect(() => logRatio(Float64Array.from(target), Float64Array.from(pool))).toThrow(
      expect.objectContaining({ fault: expect.objectContaining({ code }) }),
    )
  })

  it.each([0, -1, 1.5, NaN, 2 ** 21 + 1])('refuses %s buckets', (buckets) => {
    expect(() => bucketCounter({ buckets })).toThrow(
      expect.objectContaining({ fault: expect.objectContaining({ code: 'bad-buckets' }) }),
    )
  })
})

describe('importance weight', () => {
  it("is the sum of the log ratios of a text's n-grams, in text order", () => {
    const ratio = Float64Array.from({ length: 1009 }, (_, i) => Math.sin(i))
    const weigh = importanceWeigher(ratio)
    fc.assert(
      fc.property(anyText, (text) => {
        expect(weigh(text)).toBe(referenceBuckets(text, 1009).reduce((sum, bucket) => sum + ratio[bucket], 0))
      }),
      { numRuns: 100 },
    )
    expect(weigh('')).toBe(0)
  })

  it.each(['sha256', 'fast'] as const)('puts texts like the target first (%s)', (hash) => {
    const target = [
      'the bond of sodium and chlorine is ionic',
      'an ionic bond needs a metal',
      'chlorine takes an electron',
    ]
    const other = ['the striker scored a late goal', 'a goal in the last minute', 'the referee blew the whistle']
    const pool = [...other, 'sodium gives an electron to chlorine', ...other]
    const counts = (texts: string[]) => countsOf(texts, { hash })
    const weigh = importanceWeigher(logRatio(counts(target), counts(pool)), { hash })
    const weights = pool.map(weigh)
    expect(weights.indexOf(Math.max(...weights))).toBe(3)
  })
})
