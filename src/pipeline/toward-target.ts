/** Computes the signals that say how rows stand to a target. */

import { WinnowError } from '../errors.ts'
import type { ResolvedBudget } from '../methods/budget.ts'
import type { SignalNeed } from '../methods/method.ts'
import type { Signal } from '../signals/signal.ts'
import { type Context, notify } from './context.ts'
import { type Copies, findCopies } from './copies.ts'
import { walkDistinct } from './distinct.ts'
import { type DomainFacts, testDomains } from './domains.ts'
import { openEmbedder } from './embedder.ts'
import { type Embedded, embedRows, type Sides } from './embeddings.ts'
import { weighRows } from './importance.ts'
import { importVectors } from './imported-embeddings.ts'
import { orderByNeighbours } from './neighbours.ts'
import type { ResolvedOptions } from './options.ts'
import type { OverNeed } from './over-pool.ts'
import type { Pool } from './pool.ts'
import type { ProxyNeed } from './proxy-signals.ts'
import type { ComputedSignals, SignalSources, TokenSignal } from './signals.ts'
import type { Target } from './target.ts'
import { scoreCandidates, type TransportFacts } from './transport.ts'

/** What is known of the target and the embedding, for later stages and the report. */
export interface TowardTarget {
  vectors?: Sides<Embedded>
  embedding?: { name: string; dimensions: number; normalise: boolean }
  copies?: Copies
  domains?: DomainFacts
  transport?: TransportFacts
}

type TowardNeed = Exclude<
  SignalNeed,
  ProxyNeed | OverNeed | { signal: 'tokens' | 'source' | 'clusters' | 'embeddings' }
>
/** Of those of the pool alone, over-pool.ts takes care. */
type EmbeddingNeed = Extract<SignalNeed, { signal: 'embeddings' }>

/** Computes one signal into `computed`, from those that were computed before. */
export async function computeTowardTarget(
  context: Context<ResolvedOptions>,
  need: TowardNeed | EmbeddingNeed,
  computed: ComputedSignals,
  { dataset, pool, tokens, perRow, pretrained, encoder, target: maybeTarget, budget }: SignalSources,
): Promise<void> {
  computed.toward ??= {}
  const { toward, signals, hashes } = computed
  const target = maybeTarget as Target
  switch (need.signal) {
    case 'copies':
      toward.copies = await findCopies(context, dataset, pool)
      signals.copies = toward.copies.signal
      hashes.copies = toward.copies.hash
      break
    case 'importance': {
      const weighed = await weighRows(context, { dataset, pool, target })
      signals.importance = weighed.signal
      hashes.importance = weighed.hash
      break
    }
    case 'embeddings': {
      const { normalise } = need
      const sources = { dataset, pool, tokens, pretrained, encoder, target }
      const { name, dimensions, ...embedded } = await embedBoth(context, sources)
      toward.vectors = embedded
      toward.embedding = { name, dimensions, normalise }
      tellOfEmpty(context, embedded)
      hashes.embeddings = embedded.pool.hash
      hashes['target-embeddings'] = embedded.target.hash
      break
    }
    case 'distance': {
      const { vectors } = withVectors(toward)
      const source = maybeDomains(context, pool, signals)
      const tested = await testDomains(context, {
        ...{ rows: pool.facts.rows, source, vectors },
        hashes: {
          embeddings: hashes.embeddings,
          target: hashes['target-embeddings'],
          ...(source && { source: pool.hash }),
        },
        normalise: toward.embedding?.normalise ?? true,
        sample: need.sample,
        epsilon: need.epsilon,
      })
      toward.domains = tested.facts
      signals.distance = tested.signal
      hashes.distance = tested.hash
      if (source) signals.source = source
      break
    }
    case 'potential': {
      const { vectors, copies } = withVectors(toward)
      const scored = await scoreCandidates(context, {
        ...{ need, rows: pool.facts.rows, source: signals.source, vectors, copies },
        hashes: vectorHashes(hashes),
        distance: { signal: signals.distance, hash: hashes.distance },
        normalise: toward.embedding?.normalise ?? true,
        ...{ budget, tokens: perRow.signal.data },
      })
      toward.transport = scored.facts
      Object.assign(signals, scored.signals)
      hashes.potential = scored.hash
      break
    }
    case 'distinct': {
      const { vectors, copies } = withVectors(toward)
      const walked = await walkDistinct(context, {
        ...{ need, budget },
        potential: signals.potential,
        candidate: signals.candidate,
        vectors: vectors.pool.files,
        hash: hashes.potential,
        copies: need.collapse ? copies : undefined,
        tokens: perRow.signal.data,
      })
      signals.distinct = walked.signal
      hashes.distinct = walked.hash
      break
    }
    case 'order': {
      const { vectors } = withVectors(toward)
      const ordered = await orderByNeighbours(context, {
        vectors,
        hashes: vectorHashes(hashes),
        budgetRows: rowsOfBudget(budget, perRow),
        ...(budget.unit === 'tokens' && { tokens: { perRow: perRow.signal.data, budget: budget.tokens } }),
      })
      Object.assign(signals, ordered.signals)
      hashes.order = ordered.hash
      break
    }
  }
}

/** @throws {WinnowError} `empty-target` where no row of the target has a vector. */
function tellOfEmpty(context: Context, { pool, target }: Sides<Embedded>): void {
  if (target.empty.length === target.files.rows)
    throw new WinnowError('input', {
      code: 'empty-target',
      message: 'no row of the target has anything that the embedding knows',
      path: '--target',
      found: `${target.files.rows} rows without features`,
      hint: 'Check its texts, or name another --embedding.',
    })
  for (const [name, { empty, files }] of Object.entries({ pool, target }))
    if (empty.length > 0)
      notify(context, {
        code: 'no-features',
        message: `${empty.length === 1 ? 'a row' : `${empty.length.toLocaleString('en')} of ${files.rows.toLocaleString('en')} rows`} of the ${name} ${empty.length === 1 ? 'has' : 'have'} nothing that the embedding knows and cannot be compared`,
        rows: empty.length,
      })
}

/** Sources of a pool, at most, that are tested one by one: each is a transport problem of its own. */
const MOST_DOMAINS = 1000

/** The sources that the domain test goes by. @throws {WinnowError} `too-many-sources` where a method asked for sources that are as many as rows. */
function maybeDomains(context: Context, { source }: Pool, signals: ComputedSignals['signals']): Signal | undefined {
  const count = source?.labels?.length ?? 0
  if (count <= MOST_DOMAINS) return source
  const found = `${count.toLocaleString('en')} sources`
  // A method that declares sources cannot do without.
  if (signals.source !== undefined)
    throw new WinnowError('usage', {
      code: 'too-many-sources',
      message: 'the pool names too many sources to test each one',
      found,
      expected: `at most ${MOST_DOMAINS}`,
      hint: 'Name a coarser field with --fields source=<field>.',
    })
  notify(context, {
    code: 'too-many-sources',
    message: `the pool names ${found}, too many to test each one: it is taken as one domain (--fields source=<field> names a coarser field)`,
  })
  return undefined
}

const vectorHashes = (hashes: Record<string, string>) => ({
  embeddings: hashes.embeddings,
  target: hashes['target-embeddings'],
  ...(hashes.copies !== undefined && { copies: hashes.copies }),
})

/** Needs are listed after those that they depend on. */
function withVectors({ vectors, copies }: TowardTarget) {
  if (vectors === undefined) throw new Error('a signal is computed from embeddings that the method does not declare')
  return { vectors, copies }
}

/** Rows that a budget asks for; of one in tokens, as many as mean rows would take. */
function rowsOfBudget(budget: ResolvedBudget, { signal, total }: TokenSignal): number {
  return budget.unit === 'rows' ? budget.rows : Math.ceil((budget.tokens * signal.rows) / total)
}

type EmbedBoth = Pick<SignalSources, 'dataset' | 'pool' | 'tokens' | 'pretrained' | 'encoder'> & { target: Target }

/** Vectors of pool and target, by one model or as they were imported. */
async function embedBoth(
  context: Context<ResolvedOptions>,
  { target, ...sources }: EmbedBoth,
): Promise<Sides<Embedded> & { name: string; dimensions: number }> {
  const { signals } = context.options
  const sides = {
    pool: { stage: 'embeddings', rows: sources.pool.facts.rows },
    target: { stage: 'target-embeddings', rows: target.rows },
  } as const
  if (signals.embeddings !== undefined) {
    const rows = await importVectors(context, { ...sides.pool, file: signals.embeddings })
    const wanted = await importVectors(context, { ...sides.target, file: signals['target-embeddings'] })
    const { dimensions } = rows.files
    if (wanted.files.dimensions !== dimensions) throw otherDimensions(signals, wanted.files.dimensions, dimensions)
    return { pool: rows, target: wanted, name: signals.embeddings, dimensions }
  }
  await using embedder = await openEmbedder(context, sources)
  const { dataset, pool } = sources
  return {
    pool: await embedRows(context, { ...sides.pool, dataset, hash: pool.hash, embedder }),
    target: await embedRows(context, { ...sides.target, dataset: target.dataset, hash: target.hash, embedder }),
    name: embedder.name,
    dimensions: embedder.dimensions,
  }
}

function otherDimensions(signals: Record<string, string>, found: number, expected: number): WinnowError {
  return new WinnowError('input', {
    code: 'bad-embeddings',
    message: 'the vectors of the target have another dimension than those of the pool',
    file: signals['target-embeddings'],
    found: `${found} dimensions`,
    expected: `${expected}, as in ${signals.embeddings}`,
    hint: 'Both must come from one model.',
  })
}
