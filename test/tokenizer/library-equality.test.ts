import fc from 'fast-check'
import { Tokenizer } from 'tokenizers'
import { describe, expect, it } from 'vitest'
import { maybeByteLevel } from '../../src/tokenizer/byte-level.ts'
import { loadTokenizer } from '../../src/tokenizer/load.ts'
import { parseTokenizerJson } from '../../src/tokenizer/tokenizer-json.ts'
import { exampleTexts, STRUCTURES } from './structures.ts'

/** What pre-tokenisers, normalisers and added tokens disagree about. */
const FRAGMENTS = [
  ...[' ', '  ', '   ', ' '.repeat(30), '\n', '\n\n', '\r\n', '\t', '\u000b', '\u001c', '\u0085', '\u00a0', '\u1680'],
  ...[
    '\u180e',
    '\u2003',
    '\u2028',
    '\u200b',
    '\u202f',
    '\u3000',
    '\ufeff',
    "'",
    "'s",
    "'S",
    "'ll",
    "'LL",
    "'re",
    "'vE",
  ],
  ...[
    "'\u017f",
    '\u017f',
    "'d",
    "'x",
    'a',
    'The',
    ' the',
    'zebra',
    ' zebra',
    '0',
    '12',
    '3456',
    '٣',
    '²',
    'Ⅷ',
    '½',
    '𝟘',
  ],
  ...[
    '!',
    '?!',
    '…',
    '—',
    '“',
    'é',
    'e\u0301',
    '\u0301',
    '\u0345',
    'ﬁ',
    'Å',
    '\u212b',
    '\u1100\u1161\u11a8',
    '한',
    '中',
  ],
  ...[
    '日本',
    'が',
    'か\u3099',
    '👩‍👩‍👧',
    '🏳️‍🌈',
    '🇫🇷',
    '\ud800',
    '\udc00',
    '\u{10ffff}',
    '\u{1d400}',
    '\ufffd',
    '\u0000',
    '\u007f',
  ],
  ...[
    '<|endoftext|>',
    '<|end|>',
    '<|pad|>',
    '<|user|>',
    '<|eot_id|>',
    '<|im_end|>',
    '<tool_call>',
    '<|end',
    '|>',
    'é̄',
    '<mask>',
  ],
]
const texts = fc.array(fc.oneof(fc.constantFrom(...FRAGMENTS), fc.string({ unit: 'binary', maxLength: 4 })), {
  maxLength: 14,
})

async function libraryIds(library: Tokenizer, batch: string[]): Promise<number[][]> {
  const encodings = await library.encodeBatch(batch, { addSpecialTokens: false })
  return encodings.map((encoding) => encoding.getIds())
}

describe.each(STRUCTURES)('$name', ({ json, fast }) => {
  const library = Tokenizer.fromString(json)
  const tokenizer = loadTokenizer(json)

  it(`is encoded ${fast ? 'in TypeScript' : 'by the library'}`, () => {
    expect(maybeByteLevel(parseTokenizerJson(json)) !== undefined).toBe(fast)
  })

  it('gives real texts the ids of the library', async () => {
    const real = exampleTexts().slice(0, fast ? 1500 : 100)
    expect(real.map((text) => Array.from(tokenizer.encode(text)))).toEqual(await libraryIds(library, real))
  })

  it('gives hostile texts the ids of the library, and decodes them alike', async () => {
    const property = fc.asyncProperty(fc.array(texts, { minLength: 20, maxLength: 20 }), async (pieces) => {
      const batch = pieces.map((parts) => parts.join(''))
      const ids = await libraryIds(library, batch)
      for (const [i, text] of batch.entries()) expect(Array.from(tokenizer.encode(text)), text).toEqual(ids[i])
      const decoded = await library.decodeBatch(ids, false)
      expect(ids.map((row) => tokenizer.decode(row))).toEqual(decoded)
    })
    await fc.assert(property, { numRuns: fast ? 60 : 8, seed: 20_261_122 })
  })
})

describe('every kind of character', () => {
  it.each(STRUCTURES.filter(({ fast }) => fast))('$name: code points of all planes, in contexts', async ({ json }) => {
    const batch: string[] = []
    for (let codePoint = 0x80; codePoint < 0x110000; codePoint += codePoint < 0x3400 ? 3 : 997) {
      if (codePoint >= 0xd800 && codePoint < 0xe000) continue
      const character = String.fromCodePoint(codePoint)
      batch.push(`a${character} ${character}1${character}${character}\n ${character}!${character}  '${character}s`)
    }
    const tokenizer = loadTokenizer(json)
    const ids = await libraryIds(Tokenizer.fromString(json), batch)
    for (const [i, text] of batch.entries())
      expect(Array.from(tokenizer.encode(text)), JSON.stringify(text)).toEqual(ids[i])
  })
})

describe('the word cache', () => {
  it('changes no id, however small it is', async () => {
    const { json } = STRUCTURES[0]
    const real = exampleTexts().slice(0, 200)
    const roomy = loadTokenizer(json)
    const cramped = loadTokenizer(json, { cachedWords: 3 })
    for (const text of real) expect(cramped.encode(text)).toEqual(roomy.encode(text))
  })

  it('grows past its first size and keeps every word apart', async () => {
    const { json } = STRUCTURES[0]
    const words = Array.from({ length: 20_000 }, (_, i) => ` w${(i * 7919).toString(26)}`).join('')
    const tokenizer = loadTokenizer(json)
    const [ids] = await libraryIds(Tokenizer.fromString(json), [words])
    expect(Array.from(tokenizer.encode(words))).toEqual(ids)
    expect(Array.from(tokenizer.encode(words))).toEqual(ids)
  })
})

describe('long pre-tokens', () => {
  it('are merged as the library merges them', async () => {
    const { json } = STRUCTURES[0]
    const long = ['='.repeat(20_000), 'thenineteenandthirty'.repeat(1000), ' '.repeat(5000), 'é'.repeat(3000)]
    const ids = await libraryIds(Tokenizer.fromString(json), long)
    const tokenizer = loadTokenizer(json)
    for (const [i, text] of long.entries()) expect(Array.from(tokenizer.encode(text))).toEqual(ids[i])
  })
})
