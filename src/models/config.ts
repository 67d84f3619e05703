/**
 * From a config.json, as transformers 4 and 5 write it, to the language model that it describes. What it does not say has transformers'
 * default for its model_type. What winnow does not compute exactly as transformers would is refused by name. Dropout is ignored: models
 * train without.
 */

import { WinnowError } from '../errors.ts'
import { type ConfigFields, configFields } from './config-fields.ts'
import { gptNeox } from './gpt-neox.ts'
import { gpt2 } from './gpt2.ts'
import { llama } from './llama.ts'
import type { LanguageModel, Origin } from './model.ts'
import { readRotary } from './rope-config.ts'

/** Of a model; the deepest published ones have a few hundred. Parameters are listed before any file of weights is looked at. */
const MOST_LAYERS = 10_000

interface Family {
  /** transformers' class, written into a saved config.json. */
  architecture: string
  read(fields: ConfigFields, origin: Origin): LanguageModel
}

const families: Readonly<Record<string, Family>> = {
  llama: { architecture: 'LlamaForCausalLM', read: readLlama },
  mistral: { architecture: 'MistralForCausalLM', read: readLlama },
  qwen2: { architecture: 'Qwen2ForCausalLM', read: readLlama },
  qwen3: { architecture: 'Qwen3ForCausalLM', read: readLlama },
  gpt_neox: { architecture: 'GPTNeoXForCausalLM', read: readGptNeox },
  gpt2: { architecture: 'GPT2LMHeadModel', read: readGpt2 },
}

/** Values of model_type that `languageModel` takes. */
export const supportedModels: readonly string[] = Object.keys(families)

/** Well-known models that read both ways or encode: they have no next-token loss. */
const notCausal = new Set(
  `albert bart bert big_bird blenderbot camembert canine clip convbert deberta deberta-v2 distilbert electra ernie esm flaubert
  fnet funnel ibert led longformer longt5 luke m2m_100 marian mbart mobilebert modernbert mpnet mt5 mvp nomic_bert nystromformer
  pegasus plbart prophetnet rembert roberta roformer siglip squeezebert switch_transformers t5 umt5 vit whisper xlm-roberta
  xlm-roberta-xl xmod`.split(/\s+/),
)

/**
 * The model that a parsed config.json describes. `file` is named in errors. Throws a WinnowError of kind `input`: `unsupported-model` where winnow does
 * not compute such a model, `invalid-model-config` where a value cannot be. Its `maxLength` is the longest sequence on which it
 * agrees with transformers: a sliding window or LongRoPE's original length may bound it below max_position_embeddings.
 */
export function languageModel(
  config: Readonly<Record<string, unknown>>,
  options: { file?: string } = {},
): LanguageModel {
  const fields = configFields(config, options.file)
  const type = fields.maybeString('model_type')
  const supported = `one of ${supportedModels.join(', ')}`
  if (type === undefined) {
    throw fields.unsupported('model_type', {
      message: 'this is no model configuration that winnow knows: it has no model_type',
      expected: supported,
      hint: 'Point at a directory in the Hugging Face layout.',
    })
  }
  if (notCausal.has(type) || (fields.raw.is_encoder_decoder === true && !Object.hasOwn(families, type))) {
    throw fields.unsupported('model_type', {
      message: `'${type}' is not a causal language model`,
      expected: supported,
      hint: 'The losses of winnow are those of the next token: take a decoder-only model.',
    })
  }
  if (!Object.hasOwn(families, type)) {
    throw fields.unsupported('model_type', {
      message: `models of type '${type}' are not supported`,
      expected: supported,
      hint: fields.has('auto_map')
        ? 'Its auto_map names code to be downloaded and run; winnow never runs remote code.'
        : undefined,
    })
  }
  refuseQuantised(fields)
  const family = families[type]
  refuseOtherHeads(fields)
  return family.read(fields, { family: type, config: savedConfig(config, family.architecture) })
}

/** config.json as it stands beside weights that winnow saves: float32, the class named, no reference to code. */
function savedConfig(config: Readonly<Record<string, unknown>>, architecture: string): Record<string, unknown> {
  const { auto_map, dtype, torch_dtype, ...kept } = config
  return { ...kept, architectures: [architecture], torch_dtype: 'float32' }
}

function refuseQuantised(fields: ConfigFields): void {
  const quantised = fields.maybeObject('quantization_config') ?? fields.maybeObject('compression_config')
  if (quantised === undefined) return
  const bits = ['4', '8'].find((bits) => quantised.raw[`load_in_${bits}bit`] === true)
  const method = quantised.raw.quant_method ?? quantised.raw.format ?? (bits && `bitsandbytes ${bits} bit`) ?? 'unknown'
  throw fields.unsupported(fields.has('quantization_config') ? 'quantization_config' : 'compression_config', {
    message: `quantised checkpoints are not supported, this one is ${method}`,
    expected: 'weights in float32, float16 or bfloat16',
    hint: 'Take the checkpoint that it was quantised from.',
  })
}

/** A classifier or reward model has the same body but no output embedding that was trained. */
function refuseOtherHeads(fields: ConfigFields): void {
  const { architectures } = fields.raw
  if (!Array.isArray(architectures) || architectures.length === 0) return
  if (architectures.some((name) => /(ForCausalLM|LMHeadModel|Model)$/.test(String(name)))) return
  throw fields.unsupported('architectures', {
    message: `a ${architectures[0]} is not a causal language model`,
    expected: 'a class that ends with ForCausalLM or LMHeadModel',
  })
}

/** Sizes of llama, mistral, qwen2 and qwen3 that differ by default (transformers 5.23). */
const llamaDefaults: Record<
  string,
  { vocabulary: number; intermediate: number; keyValueHeads?: number; length: number }
> = {
  llama: { vocabulary: 32_000, intermediate: 11_008, length: 2048 },
  mistral: { vocabulary: 32_000, intermediate: 14_336, keyValueHeads: 8, length: 131_072 },
  qwen2: { vocabulary: 151_936, intermediate: 22_016, keyValueHeads: 32, length: 32_768 },
  qwen3: { vocabulary: 151_936, intermediate: 22_016, keyValueHeads: 32, length: 32_768 },
}

function readLlama(fields: ConfigFields, origin: Origin): LanguageModel {
  const { family } = origin
  const defaults = llamaDefaults[family]
  const hiddenSize = fields.size('hidden_size', 4096)
  const layers = fields.size('num_hidden_layers', 32, MOST_LAYERS)
  const heads = fields.size('num_attention_heads', 32)
  // An explicit null means as many as heads; only a missing key has the family's default.
  const missing = fields.raw.num_key_value_heads === undefined
  const keyValueHeads = fields.size('num_key_value_heads', (missing ? defaults.keyValueHeads : undefined) ?? heads)
  if (heads % keyValueHeads !== 0) throw indivisible(fields, 'num_key_value_heads', `a divisor of ${heads} heads`)
  const givenSize = fields.maybeSize('head_dim') ?? (family === 'qwen3' ? 128 : undefined)
  if (givenSize === undefined) checkHeads(fields, 'num_attention_heads', hiddenSize, heads)
  const headSize = givenSize ?? hiddenSize / heads
  const positions = fields.size('max_position_embeddings', defaults.length)
  const rotary = readRotary(fields, {
    headSize,
    share: fields.number('partial_rotary_factor', 1),
    theta: fields.number('rope_theta', 10_000),
    positions,
  })
  const attentionBias = family !== 'mistral' && family !== 'qwen2' && fields.boolean('attention_bias', false)
  const config = {
    vocabularySize: fields.size('vocab_size', defaults.vocabulary),
    hiddenSize,
    intermediateSize: fields.size('intermediate_size', defaults.intermediate),
    layers,
    heads,
    keyValueHeads,
    headSize,
    maxLength: Math.min(rotary.maxLength, slidingWindow(fields, family, layers)),
    ropeTheta: rotary.settings.theta,
    ropeScaling: rotary.settings.scaling,
    rotaryDims: rotary.settings.dims,
    rmsNormEpsilon: fields.number('rms_norm_eps', 1e-6),
    tiedEmbeddings: fields.boolean('tie_word_embeddings', false),
    attentionBias: family === 'qwen2' ? ('qkv' as const) : attentionBias ? ('all' as const) : ('none' as const),
    mlpBias: family === 'llama' && fields.boolean('mlp_bias', false),
    queryKeyNorm: family === 'qwen3',
    activation: fields.activation('hidden_act', 'silu'),
    initializerRange: fields.number('initializer_range', 0.02),
  }
  return llama(config, origin)
}

/** Keys that a query sees, where fewer than all: sequences no longer than that never meet the window's edge. */
function slidingWindow(fields: ConfigFields, family: string, layers: number): number {
  const types = fields.raw.layer_types
  const known = ['full_attention', 'sliding_attention']
  if (Array.isArray(types) && !types.every((type) => known.includes(type))) {
    const other = types.find((type) => !known.includes(type))
    throw fields.unsupported('layer_types', {
      message: `layers of '${other}' are not supported`,
      expected: known.join(', '),
    })
  }
  if (family === 'mistral') {
    const window = fields.raw.sliding_window === undefined ? 4096 : fields.maybeSize('sliding_window')
    return window ?? Number.POSITIVE_INFINITY
  }
  if (family === 'llama' || !fields.boolean('use_sliding_window', false)) return Number.POSITIVE_INFINITY
  const slides = Array.isArray(types)
    ? types.includes('sliding_attention')
    : Number(fields.raw.max_window_layers ?? 28) < layers
  const window = fields.raw.sliding_window === undefined ? 4096 : fields.maybeSize('sliding_window')
  return slides ? (window ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY
}

function readGptNeox(fields: ConfigFields, origin: Origin): LanguageModel {
  const hiddenSize = fields.size('hidden_size', 6144)
  const heads = fields.size('num_attention_heads', 64)
  checkHeads(fields, 'num_attention_heads', hiddenSize, heads)
  const rotary = readRotary(fields, {
    headSize: hiddenSize / heads,
    share: fields.number('rotary_pct', 0.25),
    theta: fields.number('rotary_emb_base', 10_000),
    positions: fields.size('max_position_embeddings', 2048),
  })
  const config = {
    vocabularySize: fields.size('vocab_size', 50_432),
    hiddenSize,
    intermediateSize: fields.size('intermediate_size', 24_576),
    layers: fields.size('num_hidden_layers', 44, MOST_LAYERS),
    heads,
    maxLength: rotary.maxLength,
    rotary: rotary.settings,
    layerNormEpsilon: fields.number('layer_norm_eps', 1e-5),
    parallelResidual: fields.boolean('use_parallel_residual', true),
    attentionBias: fields.boolean('attention_bias', true),
    activation: fields.activation('hidden_act', 'gelu'),
    tiedEmbeddings: fields.boolean('tie_word_embeddings', false),
    initializerRange: fields.number('initializer_range', 0.02),
  }
  return gptNeox(config, origin)
}

function readGpt2(fields: ConfigFields, origin: Origin): LanguageModel {
  for (const key of ['scale_attn_by_inverse_layer_idx', 'add_cross_attention']) {
    if (fields.boolean(key, false))
      throw fields.unsupported(key, { message: `a GPT-2 with ${key} is not supported`, expected: 'false' })
  }
  const hiddenSize = fields.size('n_embd', 768)
  const heads = fields.size('n_head', 12)
  checkHeads(fields, 'n_head', hiddenSize, heads)
  const config = {
    vocabularySize: fields.size('vocab_size', 50_257),
    hiddenSize,
    intermediateSize: fields.size('n_inner', 4 * hiddenSize),
    layers: fields.size('n_layer', 12, MOST_LAYERS),
    heads,
    maxLength: fields.size('n_positions', 1024),
    layerNormEpsilon: fields.number('layer_norm_epsilon', 1e-5),
    scaledAttention: fields.boolean('scale_attn_weights', true),
    activation: fields.activation('activation_function', 'gelu_new'),
    tiedEmbeddings: fields.boolean('tie_word_embeddings', true),
    initializerRange: fields.number('initializer_range', 0.02),
  }
  return gpt2(config, origin)
}

function checkHeads(fields: ConfigFields, key: string, hiddenSize: number, heads: number): void {
  if (hiddenSize % heads !== 0) throw indivisible(fields, key, `a divisor of the hidden size ${hiddenSize}`)
}

function indivisible(fields: ConfigFields, key: string, expected: string): WinnowError {
  const { fault } = fields.unsupported(key, { message: `the model's ${key} is not usable`, expected })
  return new WinnowError('input', { ...fault, code: 'invalid-model-config' })
}
