/** What the stages toward a target will cost, from some of the pool's texts embedded on this machine. Writes nothing. */

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

interface PlanOf {
  dataset: Dataset
  rows: number
  /** Where the proxy's hidden states are the embedding. */
  proxy?: { hiddenSize: number; passSeconds: number }
  signal?: AbortSignal
}

/** Undefined for a method that reads no target. */
export async function planTarget(
  options: ResolvedOptions,
  needs: readonly SignalNeed[],
  { dataset, rows, proxy, signal }: PlanOf,
): Promise<(Pick<SelectPlan, 'target' | 'seconds'> & { diskBytes: number }) | undefined> {
  if (!readsTarget(needs)) return undefined
  const target = await openTarget(options)
  let targets = 0
  for await (const { records } of target.batches({ signal })) targets += records.length
  const files = options.target
  if (!readsEmbeddings(needs)) {
    const texts = await someTexts(dataset, rows, TRIED.importance, options, signal)
    const counter = bucketCounter()
    const seconds = await timed(async () => texts.forEach(counter.add))
    return {
      target: { rows: targets, files },
      seconds: [{ stage: 'weigh n-grams', seconds: (2 * rows * seconds) / texts.length }],
      diskBytes: 8 * rows,
    }
  }
  const { name, dimensions, perRow, imported } = await tryEmbedding(options, { dataset, rows, proxy, signal })
  const pairs = (n: number) => (n * targets * dimensions) / TILE_RATE + (n * targets) / PAIR_RATE
  const solve = needs.find((need) => need.signal === 'potential')
  const test = needs.find((need) => need.signal === 'distance')
  const solved = Math.min(rows, solve?.sample ?? 0)
  const seconds = [
    { stage: `embed ${(rows + targets).toLocaleString('en')} rows`, seconds: (rows + targets) * perRow },
    ...(test ? [{ stage: 'domain test', seconds: 2 * pairs(Math.min(rows, test.sample)) }] : []),
    ...(solve
      ? [
          {
            stage: `solve ${targets.toLocaleString('en')} x ${solved.toLocaleString('en')}`,
            seconds: pairs(solved) + (ITERATIONS * solved * targets) / (8 * PAIR_RATE),
          },
          { stage: 'score every row', seconds: pairs(rows) },
        ]
      : []),
    ...(needs.some((need) => need.signal === 'order') ? [{ stage: 'neighbours', seconds: pairs(rows) }] : []),
  ]
  return {
    target: { rows: targets, files, embedding: { name, dimensions } },
    seconds,
    diskBytes: (imported ? 0 : 4 * dimensions * (rows + targets)) + 24 * rows,
  }
}

/** Where the method compares the pool's rows with each other. Undefined for a method that reads no vectors. */
export async function planOverPool(
  options: ResolvedOptions,
  needs: readonly SignalNeed[],
  of: PlanOf,
): Promise<(Pick<SelectPlan, 'embedding' | 'seconds'> & { diskBytes: number }) | undefined> {
  if (!readsEmbeddings(needs)) return undefined
  const { rows } = of
  const { name, dimensions, perRow, imported } = await tryEmbedding(options, of)
  const most = (need: SignalNeed) =>
    need.signal === 'redundancy' ? (need.cells === 'auto' ? CELL_ROWS : Math.ceil(rows / need.cells)) : WHOLE_ROWS
  // Each pair once, in cells where there are more rows than are compared together.
  const compared = needs.flatMap((need) =>
    need.signal === 'coverage' || need.signal === 'spread' || need.signal === 'redundancy'
      ? [
          {
            stage: COMPARING[need.signal],
            seconds: 0.2 + (rows * Math.min(rows, most(need)) * dimensions) / 2 / FIXED_RATE,
          },
        ]
      : [],
  )
  return {
    embedding: { name, dimensions },
    seconds: [{ stage: `embed ${rows.toLocaleString('en')} rows`, seconds: rows * perRow }, ...compared],
    diskBytes: (imported ? 0 : 4 * dimensions * rows) + 24 * rows,
  }
}

const COMPARING = { coverage: 'cover the pool', spread: 'spread picks', redundancy: 'find likenesses' }

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
