/** What `select` is asked of a target and of the embedding that it is compared in. */

import { WinnowError } from '../errors.ts'
import type { SignalNeed } from '../methods/method.ts'
import { wholeNumber } from './model-options.ts'

export const POOLINGS = ['auto', 'mean', 'cls', 'last', 'weighted-mean'] as const
export type Pooling = (typeof POOLINGS)[number]

export interface TargetOptions {
  /** Files and globs of the target: what the selection is to resemble. */
  target?: string[]
  /** `--fields` of the target. Default: detected. */
  targetFields?: string
  /** `--template` of the target. Default: the record's own format. */
  targetTemplate?: string
  /** `ngrams`, `proxy` (its hidden states), a hub id or a model directory. Default `ngrams`. */
  embedding?: string
  /** Of an encoder. Default: the model's own. */
  pooling?: Pooling
  /** d of `ngrams`. Default 384. */
  embeddingDimensions?: number
  /** An encoder's texts are cut to this many tokens. Default: the model's own limit, at most 512. */
  embeddingTokens?: number
  /** What is put before each text for an encoder, such as `passage: `. */
  embeddingPrefix?: string
  /** Texts are cut to this many characters before they are embedded. Default: not cut. */
  normaliseLength?: number
}

export interface ResolvedTargetOptions extends TargetOptions {
  /** Empty where the method reads none. */
  target: string[]
}

export const readsTarget = (needs: readonly SignalNeed[]): boolean =>
  needs.some((need) => need.signal === 'importance' || (need.signal === 'embeddings' && need.only !== 'pool'))
/** The one embedding that a method asks for. */
const onlyEmbedding = (needs: readonly SignalNeed[]): string | undefined =>
  needs.find((need) => need.signal === 'embeddings')?.embedding
export const readsEmbeddings = (needs: readonly SignalNeed[]): boolean =>
  needs.some(({ signal }) => signal === 'embeddings')

/**
 * The options as the method uses them: those of a target and of an embedding are left out where the method reads neither.
 *
 * @throws {WinnowError} `no-target`, `other-embedding`, `bad-option`.
 */
export function resolveTargetOptions(
  options: TargetOptions & Signalled,
  method: string,
  needs: readonly SignalNeed[],
): ResolvedTargetOptions {
  const { target = [], targetFields, targetTemplate, pooling, embeddingTokens, embeddingPrefix } = options
  const ofTarget = readsTarget(needs)
  if (!ofTarget && !readsEmbeddings(needs)) return { target: [] }
  if (ofTarget && target.length === 0)
    throw new WinnowError('usage', {
      code: 'no-target',
      message: `the method ${method} picks toward a target, and none was given`,
      path: '--target',
      expected: 'a file with some of what the model is to be good at',
      hint: `For example: winnow select pool.jsonl --method ${method} --target task.jsonl --budget 5000.`,
    })
  const reading = ofTarget ? { target, targetFields, targetTemplate } : { target: [] }
  if (!readsEmbeddings(needs)) return reading
  if (pooling !== undefined && !POOLINGS.includes(pooling))
    throw new WinnowError('usage', {
      code: 'bad-option',
      message: 'there is no such pooling',
      path: '--pooling',
      found: String(pooling),
      expected: POOLINGS.join(', '),
    })
  const embedding = options.embedding ?? onlyEmbedding(needs)
  if (options.signals?.embeddings === undefined && embedding !== (onlyEmbedding(needs) ?? embedding))
    throw new WinnowError('usage', {
      code: 'other-embedding',
      message: `the method ${method} compares rows by the proxy's hidden states`,
      path: '--embedding',
      found: String(embedding),
      expected: 'proxy, or none said',
      hint: 'tapt-knn makes the same draw with any embedding.',
    })
  const count = (value: number | undefined, path: string, least: number, most = Number.MAX_SAFE_INTEGER) => {
    if (value === undefined) return undefined
    if (wholeNumber(value, value, path, least) <= most) return value
    throw new WinnowError('usage', {
      code: 'bad-option',
      message: 'the option takes a smaller number',
      path,
      found: String(value),
      expected: `at most ${most}`,
    })
  }
  const kind = embeddingKind({ ...options, embedding })
  const ofEncoder = kind === 'encoder' && {
    pooling,
    embeddingTokens: count(embeddingTokens, '--embedding-tokens', 8),
    embeddingPrefix,
  }
  const ofNgrams = kind === 'ngrams' && {
    embeddingDimensions: count(options.embeddingDimensions, '--embedding-dimensions', 16, 16_384),
  }
  const ofTexts = (kind === 'encoder' || kind === 'ngrams') && {
    normaliseLength: count(options.normaliseLength, '--normalise-length', 1),
  }
  const imported = kind === 'imported' ? {} : { embedding: embedding ?? 'ngrams' }
  return { ...reading, ...imported, ...ofEncoder, ...ofNgrams, ...ofTexts }
}

type EmbeddingKind = 'imported' | 'ngrams' | 'proxy' | 'encoder'

/** Where vectors come from. */
function embeddingKind({ embedding = 'ngrams', signals }: TargetOptions & Signalled): EmbeddingKind {
  if (signals?.embeddings !== undefined) return 'imported'
  return embedding === 'ngrams' || embedding === 'proxy' ? embedding : 'encoder'
}

/** With the signals that are imported. */
interface Signalled {
  signals?: Readonly<Record<string, string>>
}

/** Which kinds of embedding read an option. */
const READ_BY: Record<string, { name: keyof TargetOptions; kinds: EmbeddingKind[] }> = {
  '--embedding': { name: 'embedding', kinds: ['ngrams', 'proxy', 'encoder'] },
  '--pooling': { name: 'pooling', kinds: ['encoder'] },
  '--embedding-dimensions': { name: 'embeddingDimensions', kinds: ['ngrams'] },
  '--embedding-tokens': { name: 'embeddingTokens', kinds: ['encoder'] },
  '--embedding-prefix': { name: 'embeddingPrefix', kinds: ['encoder'] },
  '--normalise-length': { name: 'normaliseLength', kinds: ['ngrams', 'encoder'] },
}

/** Options that were given and that are not read, as they are typed: by the method, or with this embedding. */
export function unreadOptions(options: TargetOptions & Signalled, needs: readonly SignalNeed[]): string[] {
  const { target, targetFields, targetTemplate } = options
  const ofTarget = { '--target': target, '--target-fields': targetFields, '--target-template': targetTemplate }
  const kind = readsEmbeddings(needs)
    ? embeddingKind({ ...options, embedding: options.embedding ?? onlyEmbedding(needs) })
    : undefined
  return [
    ...Object.entries(ofTarget).flatMap(([flag, value]) => (value === undefined || readsTarget(needs) ? [] : [flag])),
    ...Object.entries(READ_BY).flatMap(([flag, { name, kinds }]) =>
      options[name] === undefined || (kind !== undefined && kinds.includes(kind)) ? [] : [flag],
    ),
  ]
}
