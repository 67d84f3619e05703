import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gramCounts } from '../../src/embedding/grams.ts'
import { fitNgrams, ngramEmbedder, readNgramModel } from '../../src/embedding/ngrams.ts'
import { featureCounts, referenceVectors } from './ngrams.reference.ts'

function modelOf(pool: string[], dimensions?: number) {
  const fit = fitNgrams({ dimensions })
  for (const text of pool) fit.add(text)
  return fit.finish()
}

async function vectors(texts: string[], pool = texts, dimensions = 384): Promise<Float32Array[]> {
  await using embedder = ngramEmbedder(modelOf(pool, dimensions))
  const data = await embedder.embed(texts)
  return texts.map((_, row) => data.subarray(row * dimensions, (row + 1) * dimensions))
}

const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => Array.from(a).reduce((sum, x, i) => sum + x * b[i], 0)
const norm = (a: Float32Array) => Math.sqrt(dot(a, a))

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 100 }),
  fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)), maxLength: 40 }),
  fc
    .array(
      fc.constantFrom('the cat', 'é', 'e\u0301', ' ', '7', '漢字', 'かな', '한국', '😀', '\ufe0f', '\ud800', 'ﬁ'),
      {
        maxLength: 40,
      },
    )
    .map((parts) => parts.join('')),
)

const POOL = [
  'The cat sat on the mat.',
  'A dog barked at the cat',
  'Stock prices fell sharply on Monday',
  '今日は天気がいいですね',
  'Добрый день, как дела?',
  '',
]

describe('n-grams of a text', () => {
  it('are those of the slow reference for any text, and are gone after a reset', () => {
    const { counts, features, count, reset } = gramCounts()
    fc.assert(
      fc.property(anyText, (text) => {
        const met = count(text)
        const found = new Map(Array.from(features.subarray(0, met), (feature) => [feature, counts[feature]]))
        reset(met)
        expect(found).toEqual(featureCounts(text))
      }),
      { numRuns: 500 },
    )
    expect(counts.every((value) => value === 0)).toBe(true)
  })
})

describe('the ngrams embedding', () => {
  it('is that of the slow reference', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyText, { maxLength: 3 }), fc.constantFrom(16, 50, 384), async (texts, d) => {
        const found = await vectors([...texts, ...POOL], POOL, d)
        const expected = referenceVectors(POOL, [...texts, ...POOL], d)
        found.forEach((vector, row) => {
          for (let i = 0; i < d; i++) expect(vector[i]).toBeCloseTo(expected[row][i], 6)
        })
      }),
      { numRuns: 30 },
    )
  })

  it('has the bits that it had: whoever changes them raises the version of the model', async () => {
    const found = await vectors(POOL)
    const hash = createHash('sha256')
    for (const vector of found) hash.update(new Uint8Array(vector.slice().buffer))
    expect(hash.digest('hex').slice(0, 16)).toBe('6249abbc060a7c0e')
    expect(modelOf(POOL).identity).toEqual({
      embedder: 'ngrams',
      version: 1,
      dimensions: 384,
      documents: 6,
      frequencies: 'a8b6baa0702f0323',
    })
  })

  it('gives a text the same bits alone, beside others, in any order of the pool, from the model in memory or from its bytes', async () => {
    const [alone] = await vectors([POOL[0]], POOL)
    const together = await vectors([...POOL].reverse(), [...POOL].reverse())
    expect(together[POOL.length - 1]).toEqual(alone)
    const read = readNgramModel(modelOf([...POOL].reverse()).toBytes())
    expect(read.identity).toEqual(modelOf(POOL).identity)
    expect(await ngramEmbedder(read).embed([POOL[0]])).toEqual(alone)
  })

  it('is of length 1, or zero where there is no letter, number or symbol', async () => {
    const texts = ['a', '7', '中', '😀', 'é', '∑', '', ' \n\t ', '.,;:!?', '\0', '\ud800', '\u0301', '\u200d\ufe0f']
    const found = await vectors(texts, POOL)
    expect(found.map((vector) => Math.round(norm(vector) * 1e6) / 1e6)).toEqual([1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
  })

  it('works with a pool of no text, of one, of empty ones', async () => {
    for (const pool of [[], ['cat'], ['', '']]) {
      const [cat, other] = await vectors(['cat', 'zebra'], pool)
      expect(norm(cat)).toBeCloseTo(1, 6)
      expect(norm(other)).toBeCloseTo(1, 6)
    }
  })

  it('does not see case, white space, punctuation, or how a character is composed', async () => {
    const found = await vectors(['Café ﬁnance １２', 'CAFÉ\n\nfinance, (12)', 'cafe\u0301 finance 12'], POOL)
    expect(found[1]).toEqual(found[0])
    expect(found[2]).toEqual(found[0])
  })

  it('takes a megabyte of one line, of one word, of marks, of emoji, of text that grows when normalised', async () => {
    const million = ['x', 'ab ', 'a\u0301', '\u0301', '👩‍👩‍👧‍👦', '\ufdfa', '\ud800', '漢'].map((unit) =>
      unit.repeat(Math.floor(1_000_000 / unit.length)),
    )
    for (const vector of await vectors(million, POOL)) {
      expect(vector.every(Number.isFinite)).toBe(true)
      expect([0, 1]).toContain(Math.round(norm(vector) * 1e6) / 1e6)
    }
  })

  it.each([
    ['words that share a root', 'optimising transport', 'optimal transportation', 'a bowl of soup'],
    ['Chinese', '我今天想吃苹果', '他昨天吃了苹果', '股票市场大幅下跌'],
    ['Japanese', '明日の天気は晴れです', '今日の天気は雨です', 'プログラムを実行する'],
    ['Thai', 'วันนี้อากาศดีมาก', 'พรุ่งนี้อากาศไม่ดี', 'ซื้อหุ้นในตลาด'],
    ['Hindi', 'आज मौसम अच्छा है', 'कल मौसम खराब था', 'शेयर बाज़ार गिर गया'],
    ['Arabic', 'الطقس جميل اليوم', 'كان الطقس سيئا أمس', 'انخفضت أسعار الأسهم'],
  ])('sees likeness: %s', async (_, a, b, other) => {
    const found = await vectors([a, b, other], [a, b, other, ...POOL], 4096)
    expect(dot(found[0], found[1])).toBeGreaterThan(dot(found[0], found[2]) + 0.05)
  })

  it('keeps the dot products of the weighted counts to within some 1 / sqrt(d)', async () => {
    const texts = sets().flatMap(({ texts }) => texts)
    const [coarse, fine] = [await vectors(texts, texts, 384), await vectors(texts, texts, 16_384)]
    let [squares, pairs] = [0, 0]
    for (let i = 0; i < texts.length; i++)
      for (let j = 0; j < i; j++) {
        squares += (dot(coarse[i], coarse[j]) - dot(fine[i], fine[j])) ** 2
        pairs++
      }
    expect(Math.sqrt(squares / pairs)).toBeLessThan(1.2 / Math.sqrt(384))
  })

  it('puts arithmetic with arithmetic and science with science: the nearest other text is of the same kind', async () => {
    const labelled = sets().flatMap(({ texts }, set) => texts.map((text) => ({ text, set })))
    const found = await vectors(labelled.map(({ text }) => text))
    const right = labelled.filter(({ set }, i) => {
      const likeness = found.map((vector, j) => (j === i ? -2 : dot(vector, found[i])))
      return labelled[likeness.indexOf(Math.max(...likeness))].set === set
    })
    expect(right.length / labelled.length).toBeGreaterThan(0.8)
  })

  it('tells how far it is, and stops when told to', async () => {
    const embedder = ngramEmbedder(modelOf(POOL))
    const long = Array.from({ length: 5 }, () => 'word '.repeat(300_000))
    const done: number[] = []
    await embedder.embed(long, { onProgress: (texts) => done.push(texts) })
    expect(done).toEqual([1, 2, 3, 4, 5])
    const abort = new AbortController()
    const stopped = embedder.embed(long, { signal: abort.signal, onProgress: () => abort.abort() })
    await expect(stopped).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }))
    await expect(embedder.embed([], { signal: AbortSignal.abort() })).rejects.toThrow()
    expect(await embedder.embed([])).toEqual(new Float32Array(0))
  })
})

describe('the ngrams model', () => {
  it('comes back from its bytes, wherever they lie in their buffer', () => {
    const model = modelOf(POOL, 100)
    const bytes = model.toBytes()
    const shifted = new Uint8Array(bytes.length + 3)
    shifted.set(bytes, 3)
    const read = readNgramModel(shifted.subarray(3))
    expect(read.toBytes()).toEqual(bytes)
    expect({ ...read, toBytes: 0 }).toEqual({ ...model, toBytes: 0 })
  })

  it('is another for another pool, another number of texts, other dimensions', () => {
    const names = [modelOf(POOL), modelOf([...POOL, '']), modelOf(POOL.slice(1)), modelOf(POOL, 128)].map(
      ({ identity }) => JSON.stringify(identity),
    )
    expect(new Set(names).size).toBe(4)
  })

  const refused = (bytes: Uint8Array) => {
    expect(() => readNgramModel(bytes, 'run/ngrams.bin')).toThrow(
      expect.objectContaining({ fault: expect.objectContaining({ code: 'bad-ngram-model', file: 'run/ngrams.bin' }) }),
    )
  }

  it('is refused when any byte of it was changed', () => {
    const bytes = modelOf(POOL).toBytes()
    const offsets = [
      ...Array(32).keys(),
      ...Array.from({ length: 40 }, (_, i) => 32 + ((i * 13_007) % (bytes.length - 32))),
    ]
    for (const at of offsets) {
      const changed = bytes.slice()
      changed[at] ^= 1 << (at % 8)
      refused(changed)
    }
  })

  it('is refused when it is cut off, longer, empty or something else', () => {
    const bytes = modelOf(POOL).toBytes()
    for (const length of [0, 4, 31, 32, 1000, bytes.length - 1]) refused(bytes.subarray(0, length))
    refused(Uint8Array.of(...bytes.subarray(0, 40)))
    const longer = new Uint8Array(bytes.length + 1)
    longer.set(bytes)
    refused(longer)
    refused(new TextEncoder().encode('{"not": "a model"}'.repeat(10)))
  })

  it.each([0, 15, 16_385, 20.5, NaN])('of %s dimensions is refused', (dimensions) => {
    expect(() => fitNgrams({ dimensions })).toThrow(
      expect.objectContaining({ fault: expect.objectContaining({ code: 'bad-dimensions' }) }),
    )
  })
})

/** Small parts of real data sets. */
function sets(): { texts: string[] }[] {
  const read = (name: string) => readFileSync(new URL(`../fixtures/dataset/${name}`, import.meta.url), 'utf8')
  const rows = (name: string) =>
    read(name)
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line))
  const arithmetic = rows('gsm8k.jsonl').map(({ question }) => question)
  const story = JSON.parse(read('svamp.json')).map(({ Body }: { Body: string }) => Body)
  return [{ texts: [...arithmetic, ...story] }, { texts: rows('sci-cite.txt').map(({ text }) => text) }]
}
