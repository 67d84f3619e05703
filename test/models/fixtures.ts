/** The reference models under test/fixtures/models, made by transformers (bench/peers/make_fixtures.py). */

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { TensorMap } from '../../src/engine/tensor.ts'
import { languageModel } from '../../src/models/config.ts'
import type { LlamaConfig } from '../../src/models/llama.ts'
import { readSafetensors } from '../../src/models/safetensors.ts'
import type { Collated } from '../../src/training/collate.ts'

export interface Recipe {
  weight_decay: number
  clip: number | null
  schedule: 'constant' | 'warmup-cosine'
  warmup?: number
  losses: number[]
  final_norms: Record<string, number>
}

export interface Training {
  adamw: { lr: number; betas: [number, number]; eps: number }
  decayed: string[]
  batches: { ids: number[][]; labels: number[][] }[]
  recipes: Record<string, Recipe>
}

export const variants = [
  'llama-gqa',
  'llama-mha',
  'llama-biased',
  'qwen2',
  'qwen3',
  'gpt-neox',
  'gpt-neox-sequential',
  'gpt2',
]

/** Further ones, of which only the logits are known. */
export const logitsOnly = ['mistral', 'llama-linear', 'llama-yarn']

const bytes = (variant: string, file: string) =>
  readFileSync(fileURLToPath(new URL(`../fixtures/models/${variant}/${file}`, import.meta.url)))

export function fixture(variant: string) {
  const json = JSON.parse(bytes(variant, 'config.json').toString('utf8'))
  /** Of the plain Llamas. */
  const config: LlamaConfig = {
    vocabularySize: json.vocab_size,
    hiddenSize: json.hidden_size,
    intermediateSize: json.intermediate_size,
    layers: json.num_hidden_layers,
    heads: json.num_attention_heads,
    keyValueHeads: json.num_key_value_heads,
    maxLength: json.max_position_embeddings,
    ropeTheta: json.rope_parameters?.rope_theta,
    rmsNormEpsilon: json.rms_norm_eps,
    tiedEmbeddings: json.tie_word_embeddings,
  }
  const weights: TensorMap = readSafetensors(bytes(variant, 'model.safetensors')).tensors
  const reference = referenceTensors(bytes(variant, 'reference.safetensors'))
  return { config, json, model: languageModel(json), weights, training: trainingOf(variant), reference }
}

function trainingOf(variant: string): Training {
  if (logitsOnly.includes(variant))
    return { adamw: { lr: 0, betas: [0, 0], eps: 0 }, decayed: [], batches: [], recipes: {} }
  return JSON.parse(bytes(variant, 'training.json').toString('utf8'))
}

/** Names of the optimiser's recipes whose losses are known. */
export const recipesOf = (variant: string): string[] => Object.keys(trainingOf(variant).recipes)

/** Tensors of reference.safetensors, int64 ones among them, which winnow's own reader refuses. */
function referenceTensors(file: Buffer): Map<string, { shape: number[]; data: number[] }> {
  const size = Number(file.readBigUInt64LE(0))
  const header = JSON.parse(file.toString('utf8', 8, 8 + size)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >
  const tensors = new Map<string, { shape: number[]; data: number[] }>()
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === '__metadata__') continue
    const raw = file.buffer.slice(
      file.byteOffset + 8 + size + data_offsets[0],
      file.byteOffset + 8 + size + data_offsets[1],
    )
    tensors.set(name, {
      shape,
      data: dtype === 'I64' ? Array.from(new BigInt64Array(raw), Number) : Array.from(new Float32Array(raw)),
    })
  }
  return tensors
}

/** Andrej Karpathy's stories260K; origin and licence in its README. */
export function storiesModel() {
  const model = languageModel(JSON.parse(bytes('stories260K', 'config.json').toString('utf8')))
  return { model, weights: readSafetensors(bytes('stories260K', 'model.safetensors')).tensors }
}

/** Texts as token ids (`<s>` first), and the NLL of each id after the first. */
export function storiesNll(): { ids: number[]; nll: number[] }[] {
  return JSON.parse(bytes('stories260K', 'reference-nll.json').toString('utf8')).items
}

/** Padded ids and Hugging Face's labels (-100: no loss) as winnow's graphs take them. */
export function collated(ids: number[][], labels: number[][]): Collated {
  const [rows, length] = [ids.length, ids[0].length]
  const positions: number[] = []
  const targets: number[] = []
  const labelsPerRow = new Uint32Array(rows)
  labels.forEach((row, i) => {
    row.forEach((label, j) => {
      if (label === -100 || j === 0) return
      positions.push(i * length + j - 1)
      targets.push(label)
      labelsPerRow[i]++
    })
  })
  return {
    tokens: Int32Array.from(ids.flat()),
    shape: [rows, length],
    positions: Int32Array.from(positions),
    targets: Int32Array.from(targets),
    labelsPerRow,
  }
}

export const unflatten = ({ shape, data }: { shape: number[]; data: number[] }): number[][] =>
  Array.from({ length: shape[0] }, (_, i) => data.slice(i * shape[1], (i + 1) * shape[1]))
