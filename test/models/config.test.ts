import { describe, expect, it } from 'vitest'
import { interpret } from '../../src/engine/interpreter.ts'
import { WinnowError } from '../../src/errors.ts'
import { languageModel, supportedModels } from '../../src/models/config.ts'
import { initialParameters } from '../../src/models/parameters.ts'
import { fixture, logitsOnly, variants } from './fixtures.ts'

const small = {
  llama: {
    model_type: 'llama',
    vocab_size: 97,
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 64,
  },
  gpt_neox: {
    model_type: 'gpt_neox',
    vocab_size: 97,
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    max_position_embeddings: 64,
  },
  gpt2: { model_type: 'gpt2', vocab_size: 97, n_embd: 16, n_layer: 2, n_head: 4, n_positions: 64 },
}

function faultOf(config: Record<string, unknown>) {
  try {
    languageModel(config, { file: 'config.json' })
  } catch (error) {
    expect(error).toBeInstanceOf(WinnowError)
    return { kind: (error as WinnowError).kind, ...(error as WinnowError).fault }
  }
  throw new Error('the configuration was taken')
}

const shapeOf = (config: Record<string, unknown>, name: string) =>
  languageModel(config).parameters.find((parameter) => parameter.name === name)?.shape

/** Hidden states of four tokens by random weights. */
function hiddenOf(config: Record<string, unknown>): Float64Array {
  const model = languageModel(config)
  const arrays = [...initialParameters(model.parameters, 1)].map(([name, { shape, data }]) => [
    name,
    { shape, data: Float64Array.from(data, (x) => 20 * x) },
  ])
  const tokens = { shape: [1, 4], data: Float64Array.of(5, 9, 2, 70) }
  return interpret({ hidden: model.graph().hidden }, { ...Object.fromEntries(arrays), tokens }).hidden.data
}

describe('the model of a config.json', () => {
  it.each([
    ...variants,
    ...logitsOnly,
  ])('%s: is of its model_type, and is saved as transformers wrote it', (variant) => {
    const { model, json } = fixture(variant)
    expect(model.family).toBe(json.model_type)
    expect(model.vocabularySize).toBe(97)
    const { dtype, ...kept } = json
    expect(model.config).toEqual({ ...kept, torch_dtype: dtype })
  })

  it('has the defaults of transformers for what the file leaves out', () => {
    const pythia = languageModel({ model_type: 'gpt_neox' })
    expect([pythia.vocabularySize, pythia.hiddenSize, pythia.layers, pythia.maxLength]).toEqual([
      50_432, 6144, 44, 2048,
    ])
    const gpt2 = languageModel({ model_type: 'gpt2' })
    expect([gpt2.vocabularySize, gpt2.hiddenSize, gpt2.layers, gpt2.maxLength, gpt2.columns]).toEqual([
      50_257,
      768,
      12,
      1024,
      [768, 3072],
    ])
    expect(shapeOf({ model_type: 'mistral', sliding_window: null }, 'model.layers.0.self_attn.k_proj.weight')).toEqual([
      1024, 4096,
    ])
    // Qwen3's heads are 128 wide whatever the hidden size.
    const qwen3 = { ...small.llama, model_type: 'qwen3' }
    expect(shapeOf(qwen3, 'model.layers.0.self_attn.q_norm.weight')).toEqual([128])
    expect(shapeOf(qwen3, 'model.layers.0.self_attn.o_proj.weight')).toEqual([16, 512])
  })

  it('has as many key heads as heads where their number is null', () => {
    const config = { ...small.llama, model_type: 'mistral', num_key_value_heads: null }
    expect(shapeOf(config, 'model.layers.0.self_attn.k_proj.weight')).toEqual([16, 16])
  })

  it('goes no further than where it agrees with transformers', () => {
    const length = (more: object) => languageModel({ ...small.llama, ...more }).maxLength
    expect(length({})).toBe(64)
    expect(length({ model_type: 'mistral', sliding_window: 32 })).toBe(32)
    expect(length({ model_type: 'mistral', sliding_window: 100 })).toBe(64)
    expect(length({ model_type: 'mistral', sliding_window: null })).toBe(64)
    expect(length({ model_type: 'mistral', max_position_embeddings: 8192 })).toBe(4096)
    expect(length({ model_type: 'qwen2', sliding_window: 32 })).toBe(64)
    expect(length({ model_type: 'qwen2', sliding_window: 32, use_sliding_window: true })).toBe(64)
    expect(length({ model_type: 'qwen2', sliding_window: 32, use_sliding_window: true, max_window_layers: 1 })).toBe(32)
    const layers = { layer_types: ['full_attention', 'sliding_attention'] }
    expect(length({ model_type: 'qwen3', sliding_window: 32, use_sliding_window: true, ...layers })).toBe(32)
  })

  it('has biases where config.json asks for them', () => {
    const names = (config: Record<string, unknown>) =>
      languageModel(config)
        .parameters.filter(({ name }) => name.includes('.0.') && name.endsWith('.bias'))
        .map(({ name }) => name.split('.').at(-2))
    expect(names(small.llama)).toEqual([])
    expect(names({ ...small.llama, attention_bias: true })).toEqual(['q_proj', 'k_proj', 'v_proj', 'o_proj'])
    expect(names({ ...small.llama, mlp_bias: true })).toEqual(['gate_proj', 'up_proj', 'down_proj'])
    expect(names({ ...small.llama, model_type: 'qwen2' })).toEqual(['q_proj', 'k_proj', 'v_proj'])
    expect(names({ ...small.gpt_neox, attention_bias: false })).not.toContain('query_key_value')
  })

  it('names the linear layers of its blocks, with their sizes whatever the layout', () => {
    const modules = languageModel(small.gpt2).linears.filter(({ module }) => module.includes('.0.'))
    expect(modules).toMatchObject([
      { module: 'transformer.h.0.attn.c_attn', inputs: 16, outputs: 48 },
      { module: 'transformer.h.0.attn.c_proj', inputs: 16, outputs: 16 },
      { module: 'transformer.h.0.mlp.c_fc', inputs: 16, outputs: 64 },
      { module: 'transformer.h.0.mlp.c_proj', inputs: 64, outputs: 16 },
    ])
    const neox = languageModel(small.gpt_neox).linears.map(({ module }) => module.split('.').at(-1))
    expect(neox.slice(0, 4)).toEqual(['query_key_value', 'dense', 'dense_h_to_4h', 'dense_4h_to_h'])
    expect(languageModel(small.llama).linears).toHaveLength(14)
  })

  it('is the same model in the spellings of transformers 4 and 5', () => {
    const older = { ...small.gpt_neox, rotary_pct: 0.5, rotary_emb_base: 500, torch_dtype: 'float16' }
    const { rotary_pct, rotary_emb_base, torch_dtype, ...rest } = older
    const rope_parameters = { rope_type: 'default', rope_theta: rotary_emb_base, partial_rotary_factor: rotary_pct }
    const newer = { ...rest, dtype: torch_dtype, rope_parameters }
    expect(hiddenOf(newer)).toEqual(hiddenOf(older))
    // Neither base nor share is passed over.
    expect(hiddenOf(older)).not.toEqual(hiddenOf({ ...older, rotary_pct: 0.25 }))
    expect(hiddenOf(older)).not.toEqual(hiddenOf({ ...older, rotary_emb_base: 10_000 }))
  })

  it('saves no reference to code and says that its weights are float32', () => {
    const { config } = languageModel({ ...small.gpt2, auto_map: { AutoModel: 'x.Y' }, torch_dtype: 'bfloat16' })
    expect(config).toEqual({ ...small.gpt2, architectures: ['GPT2LMHeadModel'], torch_dtype: 'float32' })
  })
})

describe('what is refused, by name', () => {
  it.each([
    ['a model of a type that is unknown', { model_type: 'mamba' }, 'model_type', /'mamba' are not supported/],
    ['an encoder', { model_type: 'bert' }, 'model_type', /'bert' is not a causal language model/],
    ['an encoder and decoder', { model_type: 'zz', is_encoder_decoder: true }, 'model_type', /not a causal/],
    ['no model at all', { hidden_size: 3 }, 'model_type', /no model_type/],
    [
      'a classifier',
      { ...small.llama, architectures: ['LlamaForSequenceClassification'] },
      'architectures',
      /LlamaForSequenceClassification is not a causal/,
    ],
    ['GPTQ', { ...small.llama, quantization_config: { quant_method: 'gptq' } }, 'quantization_config', /gptq/],
    ['AWQ', { ...small.llama, quantization_config: { quant_method: 'awq' } }, 'quantization_config', /awq/],
    ['fp8', { ...small.llama, quantization_config: { quant_method: 'fp8' } }, 'quantization_config', /fp8/],
    ['bitsandbytes', { ...small.llama, quantization_config: { load_in_4bit: true } }, 'quantization_config', /4 bit/],
    ['an activation', { ...small.llama, hidden_act: 'relu2' }, 'hidden_act', /'relu2'/],
    ['an activation of GPT-2', { ...small.gpt2, activation_function: 'mish' }, 'activation_function', /'mish'/],
    [
      'scores scaled by the layer',
      { ...small.gpt2, scale_attn_by_inverse_layer_idx: true },
      'scale_attn_by_inverse_layer_idx',
      /scale_attn_by_inverse_layer_idx/,
    ],
    ['cross-attention', { ...small.gpt2, add_cross_attention: true }, 'add_cross_attention', /add_cross_attention/],
    ['a share of a head that is odd', { ...small.gpt_neox, rotary_pct: 0.4 }, 'rotary_pct', /even number/],
    [
      'layers of another kind',
      { ...small.llama, model_type: 'qwen3', layer_types: ['chunked_attention', 'full_attention'] },
      'layer_types',
      /'chunked_attention'/,
    ],
  ])('%s', (_, config, path, message) => {
    const fault = faultOf(config)
    expect(fault).toMatchObject({ kind: 'input', code: 'unsupported-model', path, file: 'config.json' })
    expect(fault.message).toMatch(message)
    expect(fault.expected).toBeTruthy()
  })

  it('code to be downloaded: it is never run', () => {
    const fault = faultOf({ model_type: 'custom', auto_map: { AutoModelForCausalLM: 'modeling.Custom' } })
    expect(fault.hint).toMatch(/never runs remote code/)
    for (const type of supportedModels) expect(fault.expected).toContain(type)
  })

  it.each([
    ['a size that is no number', { ...small.llama, hidden_size: '16' }, 'hidden_size'],
    ['a size of zero', { ...small.llama, num_hidden_layers: 0 }, 'num_hidden_layers'],
    ['layers without end', { ...small.gpt2, n_layer: 1e12 }, 'n_layer'],
    ['heads that do not divide the hidden size', { ...small.gpt2, n_head: 3 }, 'n_head'],
    ['key heads that do not divide the heads', { ...small.llama, num_key_value_heads: 3 }, 'num_key_value_heads'],
    ['a flag that is a text', { ...small.llama, tie_word_embeddings: 'yes' }, 'tie_word_embeddings'],
    ['an epsilon below zero', { ...small.llama, rms_norm_eps: -1 }, 'rms_norm_eps'],
    ['rotary parameters that are a list', { ...small.llama, rope_scaling: [1] }, 'rope_scaling'],
  ])('a broken file: %s', (_, config, path) => {
    expect(faultOf(config)).toMatchObject({ kind: 'input', code: 'invalid-model-config', path })
  })
})
