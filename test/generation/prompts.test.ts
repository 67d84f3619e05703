import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { endTokens, promptTokens, referenceTokens } from '../../src/generation/prompts.ts'
import { loadTokenizer } from '../../src/tokenizer/load.ts'
import { loadPretrainedTokenizer } from '../../src/tokenizer/pretrained.ts'
import { TRAINED_BIT } from '../../src/tokenizer/tokenizer.ts'
import { trainTokenizer } from '../../src/tokenizer/train.ts'

describe('a row as a task', () => {
  const trained = (token: number) => (token | TRAINED_BIT) >>> 0
  const rows = (tokens: number[]) => ({
    count: 1,
    lengths: Uint32Array.of(tokens.length),
    labels: Uint32Array.of(0),
    read: () => Uint32Array.from(tokens),
  })

  it('is the tokens before the first trained one, and the trained ones after it', () => {
    const row = rows([1, 5, 6, trained(7), trained(8), 9, trained(4)])
    expect([...promptTokens(row, 0)]).toEqual([1, 5, 6])
    expect([...referenceTokens(row, 0)]).toEqual([7, 8])
    expect([...promptTokens(row, 0, 'last')]).toEqual([1, 5, 6, 7, 8, 9])
    expect([...referenceTokens(row, 0, 'last')]).toEqual([4])
  })

  it('has no reference where nothing is trained, and no prompt where everything is', () => {
    expect([...promptTokens(rows([1, 2]), 0)]).toEqual([1, 2])
    expect([...referenceTokens(rows([1, 2]), 0)]).toEqual([])
    expect([...promptTokens(rows([1, 2]), 0, 'last')]).toEqual([1, 2])
    expect([...referenceTokens(rows([1, 2]), 0, 'last')]).toEqual([])
    expect([...promptTokens(rows([trained(1), trained(2)]), 0)]).toEqual([])
    expect([...referenceTokens(rows([trained(1), trained(2)]), 0)]).toEqual([1, 2])
  })
})

describe('the tokens that end an answer', () => {
  const read = (file: string) =>
    readFileSync(new URL(`../fixtures/tokenizer/stories260k/${file}`, import.meta.url), 'utf8')
  const stories = (chatTemplate?: string) =>
    loadPretrainedTokenizer({
      json: read('tokenizer.json'),
      config: JSON.parse(read('tokenizer_config.json')),
      chatTemplate,
    })

  it('are the end token and those of the configuration', () => {
    expect(stories().eosId).toBe(2)
    expect(endTokens(stories())).toEqual([2])
    expect(endTokens(stories(), [7, 2], undefined, 5)).toEqual([2, 5, 7])
  })

  it('are also what the chat template ends a turn with', () => {
    const template = "{% for message in messages %}{{ message['content'] + '<s>' }}{% endfor %}"
    expect(endTokens(stories(template))).toEqual([1, 2])
  })

  it('are none that an answer only happens to end with, or where the template refuses', () => {
    const template = "{% for message in messages %}{{ message['role'] + ':' + message['content'] }}{% endfor %}"
    expect(endTokens(stories(template))).toEqual([2])
    expect(endTokens(stories("{{ raise_exception('no') }}"))).toEqual([2])
  })

  it("are nano's own", () => {
    const nano = loadTokenizer(trainTokenizer(['yes and no'], { vocabularySize: 300 }).json)
    expect(endTokens(nano)).toEqual([nano.eosId])
  })
})
