/** What the `ngrams` embedding keeps of a pool: in how many texts each feature stands; and how that is written down. */

import { WinnowError } from '../errors.ts'
import type { EmbedderIdentity } from './embedder.ts'
import { FEATURES, gramCounts } from './grams.ts'

export interface NgramOptions {
  /** d, 16 to 16,384. Default 384. */
  dimensions?: number
}

export interface NgramModel {
  /** For `readNgramModel`; 512 KiB. */
  toBytes(): Uint8Array
  /** Tells models apart: what texts of the same model are embedded to is the same to the bit. */
  readonly identity: EmbedderIdentity
  /** d */
  readonly dimensions: number
  /** Texts of the pool. */
  readonly documents: number
  /** [FEATURES] texts that each feature stands in. */
  readonly frequencies: Uint32Array
}

const FEWEST_DIMENSIONS = 16
const MOST_DIMENSIONS = 16_384

/** `WNGR`, the version, d, the number of features, the texts (float64), two checks; then the frequencies. Little-endian. */
const MAGIC = 0x52474e57
/** Of the bytes and of what they mean: n-grams, weights, projection. */
const VERSION = 1
const HEADER = 32

/**
 * Counts, in one pass over the pool's texts, how many of them have each feature. Memory: 1.5 MiB whatever the pool. The order of the
 * texts does not matter. Throws `bad-dimensions`.
 */
export function fitNgrams({ dimensions = 384 }: NgramOptions = {}): {
  add(text: string): void
  finish(): NgramModel
} {
  if (!validDimensions(dimensions))
    throw new WinnowError('usage', {
      code: 'bad-dimensions',
      message: 'dimensions of the ngrams embedding are out of range',
      found: String(dimensions),
      expected: `a whole number from ${FEWEST_DIMENSIONS} to ${MOST_DIMENSIONS}`,
      hint: 'Leave them out for 384.',
    })
  const { features, count, reset } = gramCounts()
  const frequencies = new Uint32Array(FEATURES)
  let documents = 0
  return {
    add(text) {
      const met = count(text)
      for (let i = 0; i < met; i++) frequencies[features[i]]++
      reset(met)
      documents++
    },
    finish: () => model(dimensions, documents, frequencies.slice()),
  }
}

const validDimensions = (value: number) =>
  Number.isInteger(value) && value >= FEWEST_DIMENSIONS && value <= MOST_DIMENSIONS

function model(dimensions: number, documents: number, frequencies: Uint32Array): NgramModel {
  const [check, check2] = checks(dimensions, documents, frequencies)
  const hex = (word: number) => word.toString(16).padStart(8, '0')
  return {
    dimensions,
    documents,
    frequencies,
    identity: { embedder: 'ngrams', version: VERSION, dimensions, documents, frequencies: hex(check) + hex(check2) },
    toBytes() {
      const bytes = new Uint8Array(HEADER + 4 * FEATURES)
      const view = new DataView(bytes.buffer)
      ;[MAGIC, VERSION, dimensions, FEATURES].forEach((word, i) => {
        view.setUint32(4 * i, word, true)
      })
      view.setFloat64(16, documents, true)
      view.setUint32(24, check, true)
      view.setUint32(28, check2, true)
      for (let i = 0; i < FEATURES; i++) view.setUint32(HEADER + 4 * i, frequencies[i], true)
      return bytes
    },
  }
}

/** 64 bits that depend on every value: two multiplicative hashes with different odd factors. */
function checks(dimensions: number, documents: number, frequencies: Uint32Array): [number, number] {
  let [first, second] = [0x811c9dc5, 0x9e3779b9]
  const take = (word: number) => {
    first = Math.imul(first ^ word, 0x01000193)
    first ^= first >>> 15
    second = Math.imul(second + word, 0x85ebca6b)
    second ^= second >>> 13
  }
  ;[VERSION, dimensions, documents % 2 ** 32, Math.floor(documents / 2 ** 32)].forEach(take)
  for (let i = 0; i < frequencies.length; i++) take(frequencies[i])
  return [first >>> 0, second >>> 0]
}

/**
 * The model of `toBytes`. Throws `bad-ngram-model` where the bytes are not whole, not a model, of another version, or changed;
 * `file` is named in the error.
 */
export function readNgramModel(bytes: Uint8Array, file?: string): NgramModel {
  const bad = (message: string, found: string, expected: string) =>
    new WinnowError('input', {
      code: 'bad-ngram-model',
      message: `ngrams model ${message}`,
      ...(file === undefined ? {} : { file }),
      found,
      expected,
      hint: 'Delete it and let it be made again from the pool.',
    })
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const size = HEADER + 4 * FEATURES
  if (bytes.length < HEADER) throw bad('is cut off', `${bytes.length} bytes`, `${size} bytes`)
  if (view.getUint32(0, true) !== MAGIC) throw bad('does not begin as one', 'other bytes', '`WNGR`')
  const version = view.getUint32(4, true)
  if (version !== VERSION) throw bad('is of another version', String(version), String(VERSION))
  if (bytes.length !== size) throw bad('has the wrong size', `${bytes.length} bytes`, `${size} bytes`)
  const dimensions = view.getUint32(8, true)
  const documents = view.getFloat64(16, true)
  const frequencies = Uint32Array.from({ length: FEATURES }, (_, i) => view.getUint32(HEADER + 4 * i, true))
  const [check, check2] = checks(dimensions, documents, frequencies)
  if (
    check !== view.getUint32(24, true) ||
    check2 !== view.getUint32(28, true) ||
    view.getUint32(12, true) !== FEATURES ||
    !validDimensions(dimensions) ||
    !Number.isSafeInteger(documents) ||
    frequencies.some((frequency) => frequency > documents)
  )
    throw bad('is damaged', 'values that do not belong together', 'the bytes as they were written')
  return model(dimensions, documents, frequencies)
}
