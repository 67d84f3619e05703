/** What a run's report says of a target: the scores, the domain test, and how the pick lies around the target's rows. */

import { scoresOf } from '../methods/got-d.ts'
import type { ReportData, ReportDomains, ReportScores } from '../report/data.ts'
import type { Signal } from '../signals/signal.ts'
import { byDistance } from './domains.ts'
import type { ResolvedOptions } from './options.ts'
import type { Chosen } from './selection.ts'
import type { ComputedSignals } from './signals.ts'
import type { Target } from './target.ts'

interface Parts {
  options: ResolvedOptions
  rows: number
  computed: ComputedSignals
  chosen: Chosen
  target?: Target
}

/** Scores of the rows, and the members of `ReportData` that a target adds; `texts` of its rows are filled in by the caller. */
export function targetReport(parts: Parts): Pick<ReportData, 'scores' | 'target' | 'domains'> {
  const { options, computed, target } = parts
  if (target === undefined) return { scores: maybeScores(parts) }
  const { signals } = computed
  const nearest = signals.nearest?.data ?? signals.taken_by?.data
  const contrast = options.methodOptions.contrast === true
  return {
    scores: maybeScores(parts),
    target: { rows: target.rows, files: options.target, nearest, texts: new Map(), contrast },
    domains: maybeDomains(parts),
  }
}

function maybeScores({ options, rows, computed, chosen }: Parts): ReportScores | undefined {
  const { signals } = computed
  const ends = (values: ArrayLike<number>, taken: 'lowest' | 'highest') =>
    chosen.selected.reduce(
      (edge, row) => (taken === 'lowest' ? Math.max(edge, values[row]) : Math.min(edge, values[row])),
      taken === 'lowest' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY,
    )
  if (signals.potential) {
    const { gradient: values, candidates } = scoresOf({ rows, signals })
    const taken = options.methodOptions.contrast === true ? 'highest' : 'lowest'
    return { name: 'calibrated gradient', taken, values, candidates, boundary: ends(values, taken) }
  }
  if (signals.importance)
    return { name: 'log importance weight', unit: 'nats', taken: 'highest', values: signals.importance.data }
  if (signals.order) {
    const values = Float64Array.from(signals.order.data, (place) => (place < 0 ? Number.NaN : place))
    return { name: 'order of picking', taken: 'lowest', values, boundary: ends(values, 'lowest') }
  }
  const places = signals.coverage ?? signals.spread
  if (places) {
    // The order goes on behind the budget; the page tells of what was picked.
    const picked = new Set(chosen.selected)
    const values = Float64Array.from(places.data, (place, row) => (picked.has(row) ? place : Number.NaN))
    return { name: 'order of picking', taken: 'lowest', values, boundary: ends(values, 'lowest') }
  }
  if (signals.redundancy) {
    // The first of a cell resembles nothing before it.
    const { data } = signals.redundancy
    const cells = (signals.cell as Signal).data
    const values = Float64Array.from(data, (value, row) => (Number.isNaN(value) && cells[row] >= 0 ? -1 : value))
    return { name: 'cosine to a preferred row', taken: 'lowest', values, boundary: ends(values, 'lowest') }
  }
  const scored = options.method.score?.({ rows, signals, options: options.methodOptions })
  return scored && { ...scored, boundary: ends(scored.values, scored.taken) }
}

function maybeDomains({ computed, chosen }: Parts): ReportDomains | undefined {
  const { toward, signals } = computed
  const { domains } = toward ?? {}
  if (domains === undefined || signals.source === undefined) return undefined
  const { data } = signals.source
  const selected = new Float64Array(domains.distances.length)
  for (const row of chosen.selected) selected[data[row]]++
  const kept = new Uint8Array(domains.distances.length)
  data.forEach((code, row) => {
    // Methods without candidates draw from every domain that they come to.
    if (signals.candidate === undefined ? selected[code] > 0 : signals.candidate.data[row] !== 0) kept[code] = 1
  })
  return {
    rows: byDistance(domains.distances.map((domain, code) => ({ ...domain, code }))).map(
      ({ name, rows, distance, code }) => ({
        name: name || '(none)',
        rows,
        distance: distance ?? Number.NaN,
        kept: kept[code] !== 0,
        selected: selected[code],
      }),
    ),
    ...(domains.self !== undefined && { self: domains.self }),
    unrelated: domains.unrelated,
  }
}

/** What was set and found, for the table of the run. */
export function targetFacts(
  { computed, target }: Parts,
  nearDuplicates?: { near: number; compared: number },
): [string, string][] {
  const count = (value: number) => value.toLocaleString('en')
  const facts: [string, string][] = []
  const { over } = computed
  if (over) {
    const { embedding, vectors } = over
    facts.push(['Embedding', `${embedding.name}, ${count(embedding.dimensions)} dimensions, unit length`])
    if (vectors.empty.length > 0) facts.push(['Rows without features', count(vectors.empty.length)])
  }
  if (target === undefined) return facts
  for (const { path, sha256 } of target.inputs) facts.push(['Target', path], ['SHA-256 of the target', sha256])
  facts.push(['Target rows', count(target.rows)])
  const { embedding, vectors, copies, transport } = computed.toward ?? {}
  if (embedding)
    facts.push([
      'Embedding',
      `${embedding.name}, ${count(embedding.dimensions)} dimensions${embedding.normalise ? ', unit length' : ''}`,
    ])
  if (vectors && vectors.pool.empty.length + vectors.target.empty.length > 0)
    facts.push([
      'Rows without features',
      `${count(vectors.pool.empty.length)} of the pool, ${count(vectors.target.empty.length)} of the target`,
    ])
  if (copies) {
    const repeated = copies.counts.reduce((total, copies_) => total + Number(copies_ === 0), 0)
    facts.push(['Rows with an earlier text', count(repeated)])
  }
  if (transport) {
    facts.push(
      ['Transport problem', `${count(transport.targets)} target rows x ${count(transport.candidates)} candidates`],
      [
        'Epsilon',
        `${transport.epsilon.toPrecision(4)} (cost ${transport.cost.mean.toPrecision(4)}, deviation ${transport.cost.deviation.toPrecision(4)})`,
      ],
      [
        'Iterations',
        `${count(transport.iterations)}, marginal error ${transport.marginalError.toExponential(1)}${transport.converged ? '' : ', not converged'}`,
      ],
      [
        'Transport cost',
        `${transport.transportCost.toPrecision(5)} (with entropy ${transport.regularisedCost.toPrecision(5)})`,
      ],
    )
  }
  if (nearDuplicates)
    facts.push([
      'Near duplicates in the pick',
      `${count(nearDuplicates.near)} of ${count(nearDuplicates.compared)} compared`,
    ])
  return facts
}
