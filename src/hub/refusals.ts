/** Why a model has no weights that winnow reads, from the names of its files: on disk and in a repository alike. */

import { WinnowError } from '../errors.ts'

const PICKLED = /(^|\/)(?!training_args\.bin$)[^/]*\.(bin|pt|pth|pkl|pickle|ckpt)$/i
const OTHER: readonly [RegExp, string][] = [
  [/\.gguf$/i, 'GGUF weights'],
  [/\.onnx$/i, 'ONNX graphs'],
  [/(^|\/)(tf_model.*\.h5|.*\.keras)$/i, 'TensorFlow weights'],
  [/\.msgpack$/i, 'Flax weights'],
]

const shown = (names: readonly string[]) =>
  names.length === 0
    ? 'no files'
    : `${names.slice(0, 6).join(', ')}${names.length > 6 ? `, … (${names.length} files)` : ''}`

/**
 * The refusal of a model without model.safetensors or its index: `pickled-weights`, `adapter-only` or `no-safetensors`. `place` is a
 * directory or a hub id.
 */
export function noSafetensors(place: string, names: readonly string[]): WinnowError {
  const expected = 'model.safetensors, or model.safetensors.index.json and its shards'
  const pickled = names.filter((name) => PICKLED.test(name))
  if (names.some((name) => name === 'adapter_config.json'))
    return new WinnowError('input', {
      code: 'adapter-only',
      message: 'the weights are an adapter (PEFT), not a whole model',
      file: place,
      found: shown(names.filter((name) => name.startsWith('adapter_'))),
      expected,
      hint: "Merge it into its base model with peft's merge_and_unload() and save that, or name the base model.",
    })
  if (pickled.length > 0)
    return new WinnowError('input', {
      code: 'pickled-weights',
      message: 'the weights are pickled Python objects, and loading a pickle runs whatever code is in it',
      file: place,
      found: shown(pickled),
      expected,
      hint:
        "Convert them where you trust them, with transformers' model.save_pretrained(path, safe_serialization=True), " +
        'or name a revision that has safetensors (on the hub often refs/pr/…).',
    })
  const other = OTHER.filter(([pattern]) => names.some((name) => pattern.test(name))).map(([, what]) => what)
  return new WinnowError('input', {
    code: 'no-safetensors',
    message:
      other.length === 0
        ? 'there are no weights'
        : `there are no weights that winnow reads, only ${other.join(' and ')}`,
    file: place,
    found: shown(names.filter((name) => /\.(safetensors|json|gguf|onnx|h5|msgpack)$/i.test(name))),
    expected,
    hint: "Save the model with transformers' save_pretrained, or name another revision or model.",
  })
}
