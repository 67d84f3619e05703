import { describe, expect, it } from 'vitest'
import { WinnowError } from '../../src/errors.ts'
import { languageModel } from '../../src/models/config.ts'
import { checkFinite, checkTied, matchWeights, maybeTiedCopy } from '../../src/models/weights.ts'
import { fixture } from './fixtures.ts'

type Shapes = Map<string, { shape: number[] }>

const checkpoint = (variant: string): Shapes => new Map(fixture(variant).weights)

function renamed(tensors: Shapes, rename: (name: string) => string): Shapes {
  return new Map([...tensors].map(([name, tensor]) => [rename(name), tensor]))
}

function faultOf(run: () => unknown) {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(WinnowError)
    return (error as WinnowError).fault
  }
  throw new Error('nothing was thrown')
}

describe('the weights of a checkpoint', () => {
  it.each(['llama-gqa', 'llama-biased', 'gpt-neox', 'gpt2'])('%s: are found by their names', (variant) => {
    const matched = matchWeights(fixture(variant).model, checkpoint(variant))
    expect([...matched].every(([parameter, tensor]) => parameter === tensor)).toBe(true)
    expect(matched.size).toBe(fixture(variant).model.parameters.length)
  })

  it.each([
    ['llama-gqa', /^model\./],
    ['gpt-neox', /^gpt_neox\./],
    ['gpt2', /^transformer\./],
  ])('%s: are found without the prefix of the family', (variant, prefix) => {
    const { model } = fixture(variant)
    const bare = renamed(checkpoint(variant), (name) => name.replace(prefix, ''))
    for (const [parameter, tensor] of matchWeights(model, bare)) expect(tensor).toBe(parameter.replace(prefix, ''))
  })

  it("takes GPT-NeoX's output embedding by its newer name", () => {
    const tensors = renamed(checkpoint('gpt-neox'), (name) => name.replace('embed_out', 'lm_head'))
    expect(matchWeights(fixture('gpt-neox').model, tensors).get('embed_out.weight')).toBe('lm_head.weight')
  })

  it('passes over masks, rotary tables and the copy of a tied embedding', () => {
    const gpt2 = checkpoint('gpt2')
    for (const name of ['transformer.h.0.attn.bias', 'h.1.attn.masked_bias', 'lm_head.weight'])
      gpt2.set(name, { shape: [1] })
    expect([...matchWeights(fixture('gpt2').model, gpt2).values()]).not.toContain('lm_head.weight')
    const neox = checkpoint('gpt-neox')
    for (const name of ['attention.bias', 'attention.masked_bias', 'attention.rotary_emb.inv_freq'])
      neox.set(`gpt_neox.layers.0.${name}`, { shape: [1] })
    expect(matchWeights(fixture('gpt-neox').model, neox).size).toBe(fixture('gpt-neox').model.parameters.length)
  })

  it('are found where tied embeddings are there by the name of the output alone', () => {
    const { model } = fixture('qwen2')
    expect(model.parameters.map(({ name }) => name)).not.toContain('lm_head.weight')
    const tensors = renamed(checkpoint('qwen2'), (name) => name.replace('model.embed_tokens', 'lm_head'))
    const matched = matchWeights(model, tensors)
    expect(matched.get('model.embed_tokens.weight')).toBe('lm_head.weight')
    expect(maybeTiedCopy(model, matched, tensors)).toBeUndefined()
  })

  it('may hold tied embeddings twice, if they are the same', () => {
    const { model } = fixture('qwen2')
    const tensors = checkpoint('qwen2')
    expect(maybeTiedCopy(model, matchWeights(model, tensors), tensors)).toBeUndefined()
    tensors.set('lm_head.weight', { shape: [97, 16] })
    expect(maybeTiedCopy(model, matchWeights(model, tensors), tensors)).toBe('lm_head.weight')
    const embedding = Float32Array.of(1, 2, -0)
    expect(() => checkTied('lm_head.weight', Float32Array.of(1, 2, 0), embedding)).not.toThrow()
    for (const other of [Float32Array.of(1, 2.5, 0), Float32Array.of(1, 2), Float32Array.of(1, 2, Number.NaN)])
      expect(faultOf(() => checkTied('lm_head.weight', other, embedding, { file: 'm' }))).toMatchObject({
        code: 'untied-weights',
        file: 'm',
        path: 'tie_word_embeddings',
      })
    const untied = fixture('llama-gqa')
    expect(maybeTiedCopy(untied.model, matchWeights(untied.model, untied.weights), untied.weights)).toBeUndefined()
  })

  it('are refused when some are missing, unknown or of another shape, all said at once', () => {
    const { model } = fixture('llama-gqa')
    const tensors = checkpoint('llama-gqa')
    for (const name of [...tensors.keys()].filter((name) => name.includes('.1.mlp.'))) tensors.delete(name)
    tensors.set('score.weight', { shape: [2, 32] })
    tensors.set('model.layers.0.self_attn.q_proj.weight', { shape: [32, 16] })
    const fault = faultOf(() => matchWeights(model, tensors, { file: 'model.safetensors' }))
    expect(fault).toMatchObject({
      code: 'weights-mismatch',
      file: 'model.safetensors',
      found: 'model.layers.0.self_attn.q_proj.weight [32, 16]',
      expected: '[32, 32]',
    })
    expect(fault.message).toMatch(/3 tensors missing: model\.layers\.1\.mlp\.gate_proj\.weight, /)
    expect(fault.message).toMatch(/1 tensor unknown to it: score\.weight/)
    expect(fault.message).toMatch(/1 tensor of another shape/)
  })

  it('are named, the first few, with the count of the others', () => {
    const fault = faultOf(() => matchWeights(fixture('gpt2').model, new Map()))
    expect(fault.message).toMatch(/28 tensors missing: transformer\.wte\.weight, .* and 25 more$/)
  })

  it('say when the vocabulary is not that of config.json', () => {
    const { json } = fixture('llama-gqa')
    const fault = faultOf(() => matchWeights(languageModel({ ...json, vocab_size: 98 }), checkpoint('llama-gqa')))
    expect(fault.hint).toBe('The embedding has 97 rows, vocab_size in config.json is 98.')
  })

  it('say when only the output embedding is missing', () => {
    const tensors = checkpoint('gpt-neox')
    tensors.delete('embed_out.weight')
    expect(faultOf(() => matchWeights(fixture('gpt-neox').model, tensors)).hint).toMatch(/tie_word_embeddings/)
  })
})

describe('the values of weights', () => {
  it('are refused where one is not finite, named by its place', () => {
    for (const broken of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const data = Float32Array.from({ length: 10 }, (_, i) => (i === 7 ? broken : -i))
      expect(faultOf(() => checkFinite('h.0.weight', data))).toMatchObject({
        code: 'weights-not-finite',
        path: 'h.0.weight[7]',
        found: String(broken),
      })
    }
  })

  it('are taken when all are finite, the largest too', () => {
    expect(() => checkFinite('w', Float32Array.of(3.4e38, -3.4e38, 0, -0, 1e-45))).not.toThrow()
    expect(() => checkFinite('w', new Float32Array(0))).not.toThrow()
  })
})
