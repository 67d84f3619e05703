import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BPE, byteLevelPreTokenizer, Tokenizer } from 'tokenizers'
import { describe, expect, it } from 'vitest'
import { loadTokenizer } from '../../src/tokenizer/load.ts'
import { parseTokenizerJson } from '../../src/tokenizer/tokenizer-json.ts'
import { trainTokenizer } from '../../src/tokenizer/train.ts'
import { SPECIAL_TOKENS } from '../../src/tokenizer/turns.ts'
import { exampleTexts } from './structures.ts'

const texts = exampleTexts()

/** Merges that the library's trainer learns from a file of these texts. */
function libraryMerges(text: string): string[] {
  const directory = mkdtempSync(join(tmpdir(), 'winnow-train-'))
  try {
    writeFileSync(join(directory, 'text'), text)
    const library = new Tokenizer(BPE.empty())
    library.setPreTokenizer(byteLevelPreTokenizer(false, true))
    library.train([join(directory, 'text')])
    library.save(join(directory, 'tokenizer.json'), false)
    const json = parseTokenizerJson(readFileSync(join(directory, 'tokenizer.json'), 'utf8'))
    return json.model.merges!.map((merge) => (typeof merge === 'string' ? merge : merge.join(' ')))
  } finally {
    rmSync(directory, { recursive: true })
  }
}

describe('training', () => {
  it("learns the library's merges, in the library's order, ties included", () => {
    // The library cuts its files at line ends, so both sides get lines.
    const lines = texts.slice(0, 1000).flatMap((text) => `${text}\n`.split(/(?<=\n)/))
    const trained = trainTokenizer(lines, { vocabularySize: 8000, minimumCount: 1 })
    const merges = parseTokenizerJson(trained.json).model.merges!.map((merge) => [...merge].join(' '))
    expect(merges.length).toBeGreaterThan(5000)
    expect(libraryMerges(lines.join('')).slice(0, merges.length)).toEqual(merges)
  })

  it('gives the smaller vocabulary by cutting the merges of the larger', () => {
    const small = parseTokenizerJson(trainTokenizer(texts, { vocabularySize: 600 }).json)
    const large = parseTokenizerJson(trainTokenizer(texts, { vocabularySize: 900 }).json)
    expect(large.model.merges!.slice(0, small.model.merges!.length)).toEqual(small.model.merges)
    for (const [token, id] of Object.entries(small.model.vocab)) expect(large.model.vocab[token]).toBe(id)
  })

  it('puts special tokens first, then the bytes, then the merges, and fills the vocabulary exactly', () => {
    const trained = trainTokenizer(texts, { vocabularySize: 1000 })
    const { model } = parseTokenizerJson(trained.json)
    for (const [id, token] of SPECIAL_TOKENS.entries()) expect(model.vocab[token]).toBe(id)
    expect(model.vocab['!']).toBe(SPECIAL_TOKENS.length)
    expect(Object.values(model.vocab).sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, id) => id))
    expect(trained.vocabularySize).toBe(1000)
    expect(loadTokenizer(trained.json).vocabularySize).toBe(1000)
  })

  it('writes the same bytes each time', () => {
    const json = trainTokenizer(texts, { vocabularySize: 700 }).json
    expect(trainTokenizer(texts, { vocabularySize: 700 }).json).toBe(json)
  })

  it('encodes and decodes any text, seen or not', () => {
    const tokenizer = loadTokenizer(trainTokenizer(texts.slice(0, 10), { vocabularySize: 400 }).json)
    for (const text of ['', 'Ωμέγα 🏳️‍🌈 \u0000\ufeff\r\n', ...texts.slice(0, 50)])
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text)
  })

  it('stops early when no pair is seen twice', () => {
    const trained = trainTokenizer(['abcd'], { vocabularySize: 1000 })
    expect(trained.vocabularySize).toBe(SPECIAL_TOKENS.length + 256)
    expect(trainTokenizer([], { vocabularySize: 1000 }).vocabularySize).toBe(SPECIAL_TOKENS.length + 256)
  })

  it('thins a large source evenly over its whole length', () => {
    const numbered = Array.from({ length: 1000 }, (_, i) => `${String(i).padStart(4, '0')} `.repeat(20))
    const trained = trainTokenizer(numbered, { vocabularySize: 2000, maximumBytes: 10_000, sourceBytes: 100_000 })
    expect(trained.texts).toBe(100)
    expect(trained.bytes).toBe(10_000)
    const tokens = Object.keys(parseTokenizerJson(trained.json).model.vocab)
    for (const hundred of ['02', '05', '09'])
      expect(
        tokens.some((token) => new RegExp(`^Ġ?${hundred}\\d\\d$`).test(token)),
        hundred,
      ).toBe(true)
  })

  it('refuses a vocabulary without room for the bytes', () => {
    expect(() => trainTokenizer(texts, { vocabularySize: 200 })).toThrow(/vocabularySize 200 is not in \[263, 65536\]/)
  })
})
