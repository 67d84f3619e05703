import { describe, expect, it } from 'vitest'
import { ownPooling, tokenLimit } from '../../src/embedding/encoder-settings.ts'

const files = (more: Partial<Parameters<typeof ownPooling>[0]> = {}) => ({ directory: 'm', config: {}, ...more })

describe("a model's own pooling", () => {
  it.each([
    [undefined, 'mean'],
    [{ pooling_mode: 'mean' }, 'mean'],
    [{ pooling_mode: ['lasttoken'] }, 'last'],
    [{ pooling_mode_cls_token: true, pooling_mode_mean_tokens: false }, 'cls'],
    [{ pooling_mode_weightedmean_tokens: true, include_prompt: true }, 'weighted-mean'],
    [{ pooling_mode_lasttoken: true }, 'last'],
  ])('%o is %s', (pooling, expected) => {
    expect(ownPooling(files({ pooling }))).toBe(expected)
  })

  it.each([
    [{ pooling_mode_max_tokens: true }, /found max_tokens/],
    [{ pooling_mode: ['mean', 'max'] }, /found mean and max/],
    [{ pooling_mode_mean_tokens: false }, /found none/],
    [{ pooling_mode: 'mean', include_prompt: false }, /include_prompt: false/],
  ])('%o is refused', (pooling, message) => {
    expect(() => ownPooling(files({ pooling }))).toThrow(message)
  })

  it('may stand among known modules only', () => {
    const modules = (last: string) => ['a.Transformer', 'b.c.Pooling', last].map((type) => ({ path: '', type }))
    expect(ownPooling(files({ modules: modules('sentence_transformers.models.Normalize') }))).toBe('mean')
    expect(() => ownPooling(files({ modules: modules('x.Dense') }))).toThrow(/Dense module/)
  })
})

describe('the tokens that a text is cut to', () => {
  const config = { max_position_embeddings: 512 }
  it.each([
    ['512 where nothing is said', files(), 512],
    ['its positions', files({ config: { n_positions: 128 } }), 128],
    ["the tokenizer's", files({ config, tokenizerConfig: { model_max_length: 256 } }), 256],
    ['no absurd number', files({ config, tokenizerConfig: { model_max_length: 1e30 } }), 512],
    [
      "sentence-transformers' before the tokenizer's",
      files({ sentenceConfig: { max_seq_length: 128 }, tokenizerConfig: { model_max_length: 64 } }),
      128,
    ],
    [
      'at most 512',
      files({ config: { max_position_embeddings: 8192 }, sentenceConfig: { max_seq_length: 8192 } }),
      512,
    ],
    [
      'fewer than its positions where they begin behind the padding',
      files({ config: { model_type: 'roberta', max_position_embeddings: 130, pad_token_id: 1 } }),
      128,
    ],
  ])('are %s', (_, given, expected) => {
    expect(tokenLimit(given)).toBe(expected)
  })

  it('may be asked for up to the positions', () => {
    expect(tokenLimit(files({ config: { max_position_embeddings: 8192 } }), 8192)).toBe(8192)
    expect(() => tokenLimit(files({ config }), 513)).toThrow(/to 512, the positions/)
    expect(tokenLimit(files(), 5000)).toBe(5000)
  })
})
