/** Computes the signals that say how rows lie among the vectors of their own pool. */

import { WinnowError } from '../errors.ts'
import type { SignalNeed } from '../methods/method.ts'
import { type Context, notify } from './context.ts'
import { coverPool } from './coverage.ts'
import { rowsWithVector } from './domains.ts'
import { openEmbedder } from './embedder.ts'
import { type Embedded, embedRows } from './embeddings.ts'
import { importVectors } from './imported-embeddings.ts'
import type { ResolvedOptions } from './options.ts'
import { findLikenesses } from './redundancy.ts'
import type { ComputedSignals, SignalSources } from './signals.ts'
import { spreadPicks } from './spread.ts'

/** What is known of the pool's vectors, for later stages and the report. */
export interface OverPool {
  vectors: Embedded
  embedding: { name: string; dimensions: number }
}

export type OverNeed = Extract<SignalNeed, { signal: 'coverage' | 'spread' | 'redundancy' }>
type EmbeddingNeed = Extract<SignalNeed, { signal: 'embeddings' }>

/** Vectors of the pool's rows: the same stage, and files, as of a method that reads a target as well. */
export async function embedPoolAlone(
  context: Context<ResolvedOptions>,
  { checkpoint }: EmbeddingNeed,
  computed: ComputedSignals,
  { dataset, pool, tokens, pretrained, encoder }: SignalSources,
): Promise<void> {
  const { signals, embedding } = context.options
  const { rows } = pool.facts
  if (checkpoint !== undefined && checkpoint !== 'late' && checkpoint !== 'auto' && embedding !== 'proxy')
    notify(context, {
      code: 'unread-option',
      message: '--checkpoint is not read with this embedding: only the proxy has checkpoints',
    })
  if (signals.embeddings !== undefined) {
    const vectors = await importVectors(context, { stage: 'embeddings', rows, file: signals.embeddings })
    computed.over = { vectors, embedding: { name: signals.embeddings, dimensions: vectors.files.dimensions } }
  } else {
    await using embedder = await openEmbedder(context, { dataset, pool, tokens, pretrained, encoder, checkpoint })
    const { name, dimensions } = embedder
    const vectors = await embedRows(context, { stage: 'embeddings', rows, dataset, hash: pool.hash, embedder })
    computed.over = { vectors, embedding: { name, dimensions } }
  }
  const { empty, hash } = computed.over.vectors
  computed.hashes.embeddings = hash
  if (empty.length === rows)
    throw new WinnowError('input', {
      code: 'empty-pool',
      message: 'no row of the pool has anything that the embedding knows',
      path: '--embedding',
      found: `${rows} rows without features`,
      hint: 'Check its texts, or name another --embedding.',
    })
  if (empty.length > 0)
    notify(context, {
      code: 'no-features',
      message: `${empty.length === 1 ? 'a row' : `${empty.length.toLocaleString('en')} of ${rows.toLocaleString('en')} rows`} of the pool ${empty.length === 1 ? 'has' : 'have'} nothing that the embedding knows and cannot be picked`,
      rows: empty.length,
    })
}

/** Computes one signal into `computed`, from the pool's vectors. */
export async function computeOverPool(
  context: Context<ResolvedOptions>,
  need: OverNeed,
  computed: ComputedSignals,
  { perRow, budget }: SignalSources,
): Promise<void> {
  const { over, signals, hashes } = computed
  if (over === undefined) throw new Error('a signal is computed from embeddings that the method does not declare')
  const { vectors } = over
  const tokens = perRow.signal.data
  // A row that may not be picked takes no place from others.
  const rows = rowsWithVector(vectors).filter((row) => tokens[row] !== 0)
  const among = { files: vectors.files, rows, hash: vectors.hash }
  switch (need.signal) {
    case 'coverage': {
      const { neighbours } = need
      const covered = await coverPool(context, { ...among, neighbours })
      Object.assign(signals, covered.signals)
      hashes.coverage = covered.hash
      break
    }
    case 'spread': {
      const spread = await spreadPicks(context, { ...among, budget, tokens })
      Object.assign(signals, spread.signals)
      hashes.spread = spread.hash
      break
    }
    case 'redundancy': {
      const { cells, keep } = need
      const found = await findLikenesses(context, { ...among, cells, keep })
      Object.assign(signals, found.signals)
      hashes.redundancy = found.hash
      break
    }
  }
}
