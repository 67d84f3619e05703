/** What vectors, n-gram counts and all that is compared by them will cost, from some of the pool's texts tried on this machine. Writes nothing. */

import type { Dataset } from '../dataset/dataset.ts'
import type { Embedder } from '../embedding/embedder.ts'
import { fitNgrams, ngramEmbedder, readNgramModel } from '../embedding/ngrams.ts'
import { bucketCounter } from '../importance/importance.ts'
import type { SignalNeed } from '../methods/method.ts'
import { WHOLE_ROWS } from './coverage.ts'
import { openEncoderOf } from './embedder.ts'
import { checkVectorFiles, isNpy } from './imported-embeddings.ts'
import type { ResolvedOptions } from './options.ts'
import { CELL_ROWS } from './redundancy.ts'
import type { SelectPlan } from './result.ts'
import { comparedText, openTarget } from './target.ts'
import { readsEmbeddings, readsTarget } from './target-options.ts'
import { openVectors } from './vector-files.ts'

/** Texts that are tried: n-grams are quick, a model is not. */
const TRIED = { ngrams: 2000, encoder: 48, importance: 2000 }
/** Multiply-adds a second of tiles of dot products, and pairs a second of what follows them (docs/benchmarks/transport.md), all threads. */
const TILE_RATE = 3e10
const PAIR_RATE = 6e8
/** The same of tiles in fixed point (docs/benchmarks/facility-location.md). */
const FIXED_RATE = 5e10
/** Of a table of vectors, which is not read for a plan. */
const UNKNOWN_DIMENSIONS = 384
/** Iterations that a transport problem takes, about. */
const ITERATIONS = 100

export interface PlanOf {
  dataset: Dataset
  rows: number
  /** Where the proxy's hidden states are the embedding. */
  proxy?: { hiddenSize: number; passSeconds: number }
  signal?: AbortSignal
}

export type ComparedPlan = Pick<SelectPlan, 'target' | 'embedding' | 'seconds'> & { diskBytes: number }

/**
 * The stages that the needs of some methods take which are compared in one embedding, or that count n-grams, each once; nothing for needs without. The
 * target is read; of an encoder 48 texts are embedded.
 */
export async function planCompared(
  options: ResolvedOptions,
  asked: readonly (readonly SignalNeed[])[],
  of: PlanOf,
): Promise<ComparedPlan> {
  const { dataset, rows, signal } = of
  const plan: ComparedPlan = { seconds: [], diskBytes: 0 }
  const needs = asked.flat()
  let targets = 0
  if (readsTarget(needs)) {
    for await (const { records } of (await openTarget(options)).batches({ signal })) targets += records.length
    plan.target = { rows: targets, files: options.target }
  }
  if (needs.some((need) => need.signal === 'importance')) {
    const texts = await someTexts(dataset, rows, TRIED.importance, options, signal)
    const counter = bucketCounter()
    const seconds = await timed(async () => texts.forEach(counter.add))
    plan.seconds.push({ stage: 'weigh n-grams', seconds: (2 * rows * seconds) / texts.length })
    plan.diskBytes += 8 * rows
  }
  if (!readsEmbeddings(needs)) return plan
  const { name, dimensions, perRow, imported } = await tryEmbedding(options, of)
  if (plan.target) plan.target.embedding = { name, dimensions }
  else plan.embedding = { name, dimensions }
  // Hidden states of different checkpoints are different vectors.
  const byVectors = Map.groupBy(asked.filter(readsEmbeddings), (own) => vectorsOf(own, options))
  plan.seconds.push({
    stage: `embed ${(rows + targets).toLocaleString('en')} rows`,
    seconds: (targets + rows * byVectors.size) * perRow,
  })
  plan.diskBytes += byVectors.size * ((imported ? 0 : 4 * dimensions * (rows + targets)) + 24 * rows)
  for (const same of byVectors.values()) {
    for (const need of distinctNeeds(same.flat())) plan.seconds.push(...stagesOf(need, { rows, targets, dimensions }))
  }
  return plan
}

/** Needs that are the same have one result. */
export const distinctNeeds = (needs: readonly SignalNeed[]): SignalNeed[] => [
  ...new Map(needs.map((need) => [JSON.stringify(need), need])).values(),
]

function vectorsOf(needs: readonly SignalNeed[], { embedding }: ResolvedOptions): string {
  const need = needs.find(({ signal }) => signal === 'embeddings') as Extract<SignalNeed, { signal: 'embeddings' }>
  const { checkpoint = 'late' } = need
  return embedding !== 'proxy' || checkpoint === 'auto' ? 'late' : String(checkpoint)
}

/** Each pair once, in cells where there are more rows than are compared together. */
function stagesOf(
  need: SignalNeed,
  { rows, targets, dimensions }: { rows: number; targets: number; dimensions: number },
): SelectPlan['seconds'] {
  const toTarget = (n: number) => (n * targets * dimensions) / TILE_RATE + (n * targets) / PAIR_RATE
  const among = (stage: string, most: number) => [
    { stage, seconds: 0.2 + (rows * Math.min(rows, most) * dimensions) / 2 / FIXED_RATE },
  ]
  switch (need.signal) {
    case 'distance':
      return [{ stage: 'domain test', seconds: 2 * toTarget(Math.min(rows, need.sample)) }]
    case 'potential': {
      const solved = Math.min(rows, need.sample)
      return [
        {
          stage: `solve ${targets.toLocaleString('en')} x ${solved.toLocaleString('en')}`,
          seconds: toTarget(solved) + (ITERATIONS * solved * targets) / (8 * PAIR_RATE),
        },
        { stage: 'score every row', seconds: toTarget(rows) },
      ]
    }
    case 'order':
      return [{ stage: 'neighbours', seconds: toTarget(rows) }]
    case 'coverage':
      return among('cover the pool', WHOLE_ROWS)
    case 'spread':
      return among('spread picks', WHOLE_ROWS)
    case 'redundancy':
      return among('find likenesses', need.cells === 'auto' ? CELL_ROWS : Math.ceil(rows / need.cells))
    default:
      return []
  }
}

/** Dimensions of the embedding, and seconds that it takes for a row. */
async function tryEmbedding(
  options: ResolvedOptions,
  of: PlanOf,
): Promise<{ name: string; dimensions: number; perRow: number; imported?: true }> {
  const { embedding = 'ngrams', signals } = options
  if (signals.embeddings !== undefined) {
    await checkVectorFiles(signals)
    const dimensions = isNpy(signals.embeddings) ? (await openVectors([signals.embeddings])).dimensions : undefined
    return { name: signals.embeddings, dimensions: dimensions ?? UNKNOWN_DIMENSIONS, perRow: 0, imported: true }
  }
  const texts = await someTexts(
    of.dataset,
    of.rows,
    embedding === 'ngrams' ? TRIED.ngrams : TRIED.encoder,
    options,
    of.signal,
  )
  if (embedding === 'proxy' && of.proxy) {
    const { hiddenSize, passSeconds } = of.proxy
    return { name: `hidden states of ${options.proxy}`, dimensions: hiddenSize, perRow: passSeconds / of.rows }
  }
  if (embedding !== 'ngrams') {
    await using encoder = await openEncoderOf(options, { normalise: true, signal: of.signal })
    await encoder.embed(texts.slice(0, 4))
    return { ...describe(encoder), perRow: (await timed(() => encoder.embed(texts))) / texts.length }
  }
  let embedder: Embedder | undefined
  const seconds = await timed(async () => {
    const fitted = fitNgrams({ dimensions: options.embeddingDimensions })
    for (const text of texts) fitted.add(text)
    embedder = ngramEmbedder(readNgramModel(fitted.finish().toBytes()))
    await embedder.embed(texts)
  })
  return { ...describe(embedder as Embedder), perRow: seconds / texts.length }
}

const describe = ({ name, dimensions }: Embedder) => ({ name, dimensions })

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await work()
  return (performance.now() - started) / 1000
}

/** About `count` texts, evenly spaced over the pool. */
async function someTexts(
  dataset: Dataset,
  rows: number,
  count: number,
  { normaliseLength }: ResolvedOptions,
  signal?: AbortSignal,
): Promise<string[]> {
  const stride = Math.max(1, Math.floor(rows / count))
  const texts: string[] = []
  for await (const { records } of dataset.batches({ signal }))
    for (const { row, turns } of records) if (row % stride === 0) texts.push(comparedText(turns, normaliseLength))
  return texts
}
