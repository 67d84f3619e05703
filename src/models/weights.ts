/** Whether a checkpoint's tensors are those of a model, by name, shape and value. Pure: hub/ and pipeline/ read the files. */

import { WinnowError } from '../errors.ts'
import type { LanguageModel } from './model.ts'

/** Tensors that older checkpoints hold though they are computed: causal masks and rotary tables. */
const buffer = /(^|\.)(attn|attention)\.(bias|masked_bias)$|(^|\.)rotary_emb\.(inv_freq|cos_cached|sin_cached)$/

/** Names of the output embedding over families and releases. */
const outputNames = ['lm_head.weight', 'embed_out.weight']

/** How many names an error shows of each kind. */
const SHOWN = 3

export interface CheckpointTensor {
  shape: readonly number[]
}

/**
 * The checkpoint's name for each parameter of the model. Checkpoints of the bare body (`h.0.attn.c_attn.weight`, GPT-2's own) lack the
 * family's prefix; GPT-NeoX's output embedding is `embed_out` or `lm_head`; tied embeddings may be there by either name. Buffers are
 * passed over, and so is an output embedding beside a tied input embedding: `checkTied` compares them. Throws one WinnowError that names tensors that are missing, unexpected or of another shape. O(tensors).
 */
export function matchWeights(
  model: LanguageModel,
  tensors: ReadonlyMap<string, CheckpointTensor>,
  options: { file?: string } = {},
): Map<string, string> {
  const matched = new Map<string, string>()
  const missing: string[] = []
  const misshapen: { name: string; found: readonly number[]; expected: readonly number[] }[] = []
  const embedding = model.parameters[0].name
  const prefix = `${embedding.split('.')[0]}.`
  const tied = isTied(model)
  for (const { name, shape } of model.parameters) {
    const bare = name.startsWith(prefix) ? [name.slice(prefix.length)] : []
    const output = tied && name === embedding ? outputNames : []
    const names = outputNames.includes(name) ? outputNames : [name, ...bare, ...output]
    const known = names.find((candidate) => tensors.has(candidate))
    if (known === undefined) {
      missing.push(name)
      continue
    }
    matched.set(name, known)
    const found = (tensors.get(known) as CheckpointTensor).shape
    if (found.length !== shape.length || found.some((size, i) => size !== shape[i]))
      misshapen.push({ name: known, found, expected: shape })
  }
  const used = new Set(matched.values())
  const unexpected = [...tensors.keys()].filter(
    (name) => !used.has(name) && !buffer.test(name) && !(tied && outputNames.includes(name)),
  )
  const faults = [
    missing.length > 0 && `${counted(missing.length)} missing: ${listed(missing)}`,
    unexpected.length > 0 && `${counted(unexpected.length)} unknown to it: ${listed(unexpected)}`,
    misshapen.length > 0 &&
      `${counted(misshapen.length)} of another shape: ${listed(misshapen.map(({ name }) => name))}`,
  ].filter((text) => text !== false)
  if (faults.length === 0) return matched
  const [first] = misshapen
  throw new WinnowError('input', {
    code: 'weights-mismatch',
    message: `the weights are not those of the ${model.family} model in config.json, ${faults.join('; ')}`,
    file: options.file,
    ...(first && {
      found: `${first.name} [${first.found.join(', ')}]`,
      expected: `[${first.expected.join(', ')}]`,
    }),
    hint: hintFor(model, { missing, misshapen }),
  })
}

const isTied = (model: LanguageModel) => !model.parameters.some(({ name }) => outputNames.includes(name))

/** The checkpoint's output embedding beside the input embedding that a model's config.json ties it to; undefined where there is none. */
export function maybeTiedCopy(
  model: LanguageModel,
  matched: ReadonlyMap<string, string>,
  tensors: ReadonlyMap<string, unknown>,
): string | undefined {
  const embedding = matched.get(model.parameters[0].name)
  return isTied(model) ? outputNames.find((name) => tensors.has(name) && name !== embedding) : undefined
}

/**
 * Throws a WinnowError `untied-weights` where the output embedding `copy` is another matrix than the input embedding: transformers then
 * leaves them apart, whatever config.json says, and so the model that config.json describes is not the one that was trained. O(elements).
 */
export function checkTied(name: string, copy: Float32Array, embedding: Float32Array, options: { file?: string } = {}) {
  const index = copy.length === embedding.length ? copy.findIndex((value, i) => value !== embedding[i]) : 0
  if (index === -1) return
  throw new WinnowError('input', {
    code: 'untied-weights',
    message: `config.json ties the output embedding to the input embedding, and '${name}' is another matrix`,
    file: options.file,
    path: 'tie_word_embeddings',
    found: `${copy[index]} where the input embedding has ${embedding[index]}, at ${index} of ${copy.length}`,
    expected: 'the same numbers',
    hint: 'Set tie_word_embeddings to false in config.json, or take config.json and weights of one revision.',
  })
}

const counted = (count: number) => (count === 1 ? '1 tensor' : `${count} tensors`)
const listed = (names: readonly string[]) =>
  names.slice(0, SHOWN).join(', ') + (names.length > SHOWN ? `, and ${names.length - SHOWN} more` : '')

interface Mismatch {
  missing: readonly string[]
  misshapen: readonly { name: string; found: readonly number[]; expected: readonly number[] }[]
}

function hintFor(model: LanguageModel, { missing, misshapen }: Mismatch): string {
  const vocabulary = misshapen.find(
    ({ found, expected }) =>
      expected[0] === model.vocabularySize && found[0] !== expected[0] && found[1] === expected[1],
  )
  if (vocabulary !== undefined)
    return `The embedding has ${vocabulary.found[0]} rows, vocab_size in config.json is ${model.vocabularySize}.`
  if (missing.length === 1 && outputNames.includes(missing[0]))
    return 'The checkpoint holds the body of the model only; tie_word_embeddings in config.json may be wrong.'
  return 'Take config.json and the weights from the same revision, with all shards.'
}

/** Throws a WinnowError that names the tensor and the first element which is NaN or infinite. O(elements). */
export function checkFinite(name: string, data: Float32Array, options: { file?: string } = {}): void {
  // x * 0 is 0 for finite numbers and NaN for the others: one sum, no branch.
  let zero = 0
  for (let i = 0; i < data.length; i++) zero += data[i] * 0
  if (zero === 0) return
  const index = data.findIndex((value) => !Number.isFinite(value))
  throw new WinnowError('input', {
    code: 'weights-not-finite',
    message: `the weights of '${name}' are broken`,
    file: options.file,
    path: `${name}[${index}]`,
    found: String(data[index]),
    expected: 'finite numbers',
    hint: 'The checkpoint was saved after training diverged, or the file is damaged: take another.',
  })
}
