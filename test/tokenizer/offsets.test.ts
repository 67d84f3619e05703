import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { maybeByteLevel } from '../../src/tokenizer/byte-level.ts'
import { libraryEncoding } from '../../src/tokenizer/library.ts'
import { overlapping } from '../../src/tokenizer/offsets.ts'
import { parseTokenizerJson } from '../../src/tokenizer/tokenizer-json.ts'
import { STRUCTURES } from './structures.ts'

const stories = readFileSync(new URL('../fixtures/tokenizer/stories260k/tokenizer.json', import.meta.url), 'utf8')

const FRAGMENTS = [
  ...[
    'a',
    'The',
    ' the',
    ' ',
    '   ',
    '\n',
    '\t',
    '12',
    '!',
    "'s",
    'é',
    'e\u0301',
    '日本',
    '한',
    '👩‍👩‍👧',
    '𝟘',
    '🇫🇷',
    '\ud800',
  ],
  ...['<|endoftext|>', '<|im_end|>', '<|eot_id|>', '<|end|>', '\u0000', '\ufeff'],
]
const texts = fc.array(fc.constantFrom(...FRAGMENTS), { maxLength: 12 }).map((parts) => parts.join(''))

describe('offsets', () => {
  it.each(STRUCTURES.filter(({ fast }) => fast))('of $name are those of the library', ({ json }) => {
    const parsed = parseTokenizerJson(json)
    const own = maybeByteLevel(parsed)!
    const library = libraryEncoding(parsed)
    const property = fc.property(texts, fc.boolean(), (text, data) => {
      const ids = data ? own.encodeData(text) : own.encode(text)
      const offsets = own.maybeOffsets(text, ids)
      // A text that normalisation changes has none of its own.
      if (offsets === undefined) expect(text.toWellFormed().normalize('NFC')).not.toBe(text.toWellFormed())
      else expect({ ids, offsets }).toEqual(library.locate(text.toWellFormed(), data))
    })
    fc.assert(property, { numRuns: 150, seed: 20_261_122 })
  })

  it('of a byte-level tokenizer lie one behind the other', () => {
    const own = maybeByteLevel(parseTokenizerJson(STRUCTURES[0].json))!
    const text = 'One 日本 two.'
    const { starts, ends } = own.maybeOffsets(text, own.encode(text))!
    expect([starts[0], ends.at(-1)]).toEqual([0, text.length])
    for (let i = 1; i < starts.length; i++) expect(starts[i]).toBeLessThanOrEqual(ends[i - 1])
  })

  it('of the library count UTF-16 code units', () => {
    const { locate } = libraryEncoding(parseTokenizerJson(stories))
    const text = '😀 yes'
    const { offsets } = locate(text, true)
    const pieces = Array.from(offsets.starts, (start, i) => text.slice(start, offsets.ends[i]))
    expect(new Set(pieces.slice(1))).toEqual(new Set(['😀', ' y', 'es']))
  })

  it('take in a token that straddles the border of a span', () => {
    const offsets = { starts: Uint32Array.of(0, 2, 2, 4, 6, 6), ends: Uint32Array.of(2, 4, 4, 6, 6, 9) }
    expect([...overlapping(offsets, [[3, 4]])]).toEqual([0, 1, 1, 0, 0, 0])
    expect([
      ...overlapping(offsets, [
        [0, 1],
        [5, 7],
      ]),
    ]).toEqual([1, 0, 0, 1, 1, 1])
    expect([...overlapping(offsets, [])]).toEqual([0, 0, 0, 0, 0, 0])
  })
})
