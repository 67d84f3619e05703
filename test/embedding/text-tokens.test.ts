import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openTextTokenizer } from '../../src/embedding/text-tokens.ts'
import { expected, TINY } from './encoders.ts'

const json = await readFile(join(TINY, 'tokenizer.json'), 'utf8')

describe('token ids of texts', () => {
  it("are transformers', cut where theirs are", async () => {
    const tokenizer = await openTextTokenizer({ json, maxTokens: expected.maxTokens })
    const { ids, cut } = await tokenizer.encode(expected.texts)
    expect(ids.map((row) => [...(row as number[])])).toEqual(expected.ids)
    expect(cut).toBe(3)
  })

  it("are those of @huggingface/transformers' own tokenizer", async () => {
    const { AutoTokenizer } = await import('@huggingface/transformers')
    const theirs = await AutoTokenizer.from_pretrained(TINY, { local_files_only: true })
    const tokenizer = await openTextTokenizer({ json, maxTokens: 512 })
    const { ids } = await tokenizer.encode(expected.texts)
    expect(ids.map((row) => [...(row as number[])])).toEqual(expected.texts.map((text) => theirs.encode(text)))
  })

  it('do not depend on truncation and padding in tokenizer.json', async () => {
    const padded = {
      ...JSON.parse(json),
      truncation: { max_length: 5, strategy: 'LongestFirst', stride: 0, direction: 'Right' },
      padding: {
        strategy: { Fixed: 16 },
        direction: 'Right',
        pad_to_multiple_of: null,
        pad_id: 0,
        pad_type_id: 0,
        pad_token: '[PAD]',
      },
    }
    const tokenizer = await openTextTokenizer({ json: JSON.stringify(padded), maxTokens: expected.maxTokens })
    expect((await tokenizer.encode(expected.texts)).ids).toEqual(expected.ids)
  })

  it('come for more texts than are handed over at once, until the signal says stop', async () => {
    const tokenizer = await openTextTokenizer({ json, maxTokens: 24 })
    const { ids } = await tokenizer.encode(Array(2500).fill('oil'))
    expect(ids.length).toBe(2500)
    await expect(tokenizer.encode(['oil'], AbortSignal.abort('enough'))).rejects.toBe('enough')
  })
})
