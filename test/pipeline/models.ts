/** Tiny pretrained models in directories of their own, with stories260K's tokenizer (512 ids) or a model's own weights. */

import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { languageModel } from '../../src/models/config.ts'
import { initialParameters } from '../../src/models/parameters.ts'
import { writeSafetensors } from '../../src/models/safetensors.ts'

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url))

/** A Llama of 29 thousand parameters. */
const CONFIG = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  hidden_act: 'silu',
  tie_word_embeddings: true,
  vocab_size: 512,
  bos_token_id: 1,
  eos_token_id: 2,
}

/** In its place, a GPT-2 of the same size: `config` of a `TinyModel`. */
export const GPT2 = {
  architectures: ['GPT2LMHeadModel'],
  model_type: 'gpt2',
  n_embd: 32,
  n_inner: 64,
  n_layer: 2,
  n_head: 4,
  n_positions: 128,
  activation_function: 'gelu_new',
  layer_norm_epsilon: 1e-5,
  tie_word_embeddings: false,
  vocab_size: 512,
  bos_token_id: 1,
  eos_token_id: 2,
}

/** Writes turns as `user: …` and `assistant: …</s>`, and refuses conversations that say "unspeakable". */
export const CHAT_TEMPLATE = `{{ bos_token }}{% for message in messages %}{% if 'unspeakable' in message['content'] %}{{ raise_exception('That is not to be said') }}{% endif %}{{ message['role'] + ': ' + message['content'] }}{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}`

export interface TinyModel {
  /** Members of config.json beside or in place of its own; with a `model_type`, all of them. */
  config?: Record<string, unknown>
  /** Text of chat_template.jinja. */
  template?: string
  /** Of the random weights. Default 0. */
  seed?: number
  /** Factor on them. Default 1. */
  scale?: number
}

/** Writes a model of random weights to a directory, and returns it. */
export function tinyModel(directory: string, { config, template, seed = 0, scale = 1 }: TinyModel = {}): string {
  mkdirSync(directory, { recursive: true })
  const json = config?.model_type === undefined ? { ...CONFIG, ...config } : config
  const { parameters } = languageModel(json)
  const weights = initialParameters(parameters, seed)
  for (const { data } of weights.values()) for (let i = 0; i < data.length; i++) data[i] *= scale
  writeFileSync(join(directory, 'config.json'), JSON.stringify(json))
  writeFileSync(join(directory, 'model.safetensors'), writeSafetensors(weights))
  putTokenizer(directory)
  if (template !== undefined) writeFileSync(join(directory, 'chat_template.jinja'), template)
  return directory
}

/** Andrej Karpathy's stories260K, with its tokenizer. */
export function storiesDirectory(directory: string): string {
  for (const file of ['config.json', 'model.safetensors'])
    cpSync(join(fixtures, 'models/stories260K', file), join(directory, file))
  putTokenizer(directory)
  return directory
}

function putTokenizer(directory: string): void {
  for (const file of ['tokenizer.json', 'tokenizer_config.json'])
    cpSync(join(fixtures, 'tokenizer/stories260k', file), join(directory, file))
}

export const remove = (...paths: string[]): void => {
  for (const path of paths) rmSync(path)
}
