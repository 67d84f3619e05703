/** Scores of all candidates against those of the pick, and where the pick ends. */

import * as Plot from '@observablehq/plot'
import { type LegendEntry, legend, responsiveChart } from './chart.ts'
import type { ReportData, ReportRows, ReportScores } from './data.ts'
import { type Html, html } from './html.ts'
import { axisLabel } from './labels.ts'
import { count, counted, figure, percent, stepped } from './numbers.ts'
import { candidacy } from './ranking.ts'
import { MEANINGS } from './score-meanings.ts'
import type { ReportSummary } from './summary.ts'
import { disclosure, table } from './table.ts'
import { COLOUR } from './theme.ts'

/** Quantiles that decide how far the axis goes are taken of at most about this many rows, evenly spaced in the pool. */
const SAMPLE = 1 << 16

export interface ScoreHistogram {
  /** Bin b holds scores in [start + b width, start + (b + 1) width). The outermost two also hold what lies beyond. */
  start: number
  width: number
  /** Candidates and picked rows in each bin. */
  pool: Float64Array
  picked: Float64Array
  /** Candidates with a score; how many of them lie below the first bin and above the last; their least and largest scores. */
  scored: number
  below: number
  above: number
  least: number
  most: number
}

/** Left out (undefined) where no row has a score, or where picked rows alone have one. */
export function scoreSection(data: ReportData, summary: ReportSummary): Html | undefined {
  const { scores, rows, target } = data
  const histogram = scores && scoreHistogram(scores, rows)
  if (!histogram || !summary.shown.ranked?.left.some(({ reason }) => reason === 'score' || reason === 'passed'))
    return undefined
  const { start, width, pool, picked } = histogram
  const bins = Array.from(pool, (n, b) => ({
    from: start + b * width,
    to: start + (b + 1) * width,
    pool: n,
    picked: picked[b],
  }))
  const end = bins[bins.length - 1].to
  const unit = scores.unit === undefined ? '' : ` ${scores.unit}`
  const { boundary, taken } = scores
  const gradient = scores.name === 'calibrated gradient'
  const scale = rowScale(pool, picked)
  const edge = boundary === undefined ? '' : ` The pick ends at ${figure(boundary)}${unit}.`
  const over = gradient ? past(scores, rows) : 0
  const entries: LegendEntry[] = [
    { label: `candidates, ${counted(histogram.scored, 'row')}`, colour: COLOUR.pool, mark: 'box' },
    {
      label: `of them picked, ${counted(
        picked.reduce((sum, n) => sum + n, 0),
        'row',
      )}`,
      colour: COLOUR.picked,
      mark: 'box',
    },
  ]
  if (boundary !== undefined)
    entries.push({ label: `edge of the pick: ${figure(boundary)}${unit}`, colour: COLOUR.ink, mark: 'dashed' })
  return html`<section id="scores"><h2>How the rows scored</h2>
<p>${meaning(scores, target?.contrast === true)}${edge}${
    over > 0 &&
    ` It goes past 0: ${counted(over, 'picked row')} (${percent(over / summary.selectedRows)} of the pick) ${over === 1 ? 'has' : 'have'} a gradient of the other sign, so that a smaller budget would do more with each row.`
  }</p>
${legend(entries)}
<figure>${responsiveChart(
    {
      id: 'score-histogram',
      title: `Distribution of the ${scores.name} over the candidates and over the pick`,
      description: `Histogram from ${stepped(start, width)} to ${stepped(end, width)}${unit}, in ${counted(bins.length, 'bin')}. The ${taken} are taken.${edge}`,
    },
    (_width, narrow) => ({
      height: narrow ? 240 : 300,
      marginLeft: 52,
      marginBottom: 38,
      x: {
        domain: [start, end],
        label: axisLabel(`${scores.name}${unit && ` (${scores.unit})`}`),
        ticks: narrow ? 4 : 9,
      },
      y: { ...scale.options, label: scale.label },
      marks: [
        Plot.gridY(scale.ticks),
        Plot.axisY(scale.ticks, { tickFormat: count }),
        Plot.rect(bins, { x1: 'from', x2: 'to', y1: 0, y2: 'pool', fill: COLOUR.pool, insetRight: narrow ? 0.5 : 1 }),
        Plot.rect(bins, {
          x1: 'from',
          x2: 'to',
          y1: 0,
          y2: 'picked',
          fill: COLOUR.picked,
          insetRight: narrow ? 0.5 : 1,
        }),
        gradient && start < 0 && end > 0 ? Plot.ruleX([0], { stroke: COLOUR.muted }) : null,
        boundary === undefined
          ? null
          : Plot.ruleX([boundary], { stroke: COLOUR.ink, strokeDasharray: '4,3', strokeWidth: 1.5 }),
        Plot.ruleY([0], { stroke: COLOUR.muted }),
      ],
    }),
  )}<figcaption>Bins of ${stepped(width, width)}${unit}.${beyond(histogram, unit)}${absent(histogram, rows)}</figcaption></figure>
${disclosure(
  'The same as a table',
  table(
    `Rows by ${scores.name}${unit && `,${unit}`}`,
    [
      { head: 'from', cell: (bin: (typeof bins)[number]) => stepped(bin.from, width), kind: 'number' },
      { head: 'to', cell: (bin) => stepped(bin.to, width), kind: 'number' },
      { head: 'candidates', cell: (bin) => count(bin.pool), kind: 'number' },
      { head: 'picked', cell: (bin) => count(bin.picked), kind: 'number' },
      { head: 'share picked', cell: (bin) => percent(bin.picked / bin.pool), kind: 'number' },
    ],
    bins,
  ),
)}
</section>`
}

/** What a score says and which end is taken, in plain words. */
function meaning({ name, taken, boundary }: ReportScores, contrast: boolean): string {
  if (name === 'calibrated gradient') {
    const end = contrast
      ? 'Here the target is what to move away from, so the highest were taken.'
      : 'The lowest were taken.'
    return (
      'Think of the candidates as weight that is carried to the target at a cost that grows with distance. A row’s gradient says how that cost changes ' +
      'as a little weight is moved from all other rows onto this one: below 0 the cost falls, so that more of such rows bring the candidates nearer to the ' +
      `target; above 0 it rises. ${end} Gradients belong to the run that found them: do not compare them with those of another run.`
    )
  }
  if (name === 'log importance weight')
    return (
      'The weight of a row says how much likelier its words are in the target than in the pool; its logarithm adds up over the words, so long rows lie ' +
      'further out. The draw takes rows without replacement in proportion to their weights (by adding Gumbel noise to the logarithms and taking the ' +
      'highest sums): high weights are taken more often, without a sharp edge.'
    )
  const words = MEANINGS[name]
  if (words !== undefined) return words
  return `Each row has a score, and the ${taken} were ${boundary === undefined ? 'favoured' : 'taken'}.`
}

/** Picked rows whose gradient says that more of them would undo what the pick is for. */
function past({ values, taken }: ReportScores, { count: n, selected }: ReportRows): number {
  let rows = 0
  for (let row = 0; row < n; row++)
    if (selected[row] && (taken === 'lowest' ? values[row] > 0 : values[row] < 0)) rows++
  return rows
}

function beyond({ below, above, scored, least, most }: ScoreHistogram, unit: string): string {
  if (below + above === 0) return ''
  const parts = [
    below > 0 && `${counted(below, 'row')} below it (down to ${figure(least)}${unit})`,
    above > 0 && `${counted(above, 'row')} above it (up to ${figure(most)}${unit})`,
  ].filter((part) => part !== false)
  return ` The axis leaves out the far ends: ${parts.join(' and ')}, ${percent((below + above) / scored)} of the candidates, are counted in the outermost bins.`
}

function absent({ scored }: ScoreHistogram, { count: all }: ReportRows): string {
  const rest = all - scored
  return rest === 0
    ? ''
    : ` ${counted(rest, 'row')} (${percent(rest / all)} of the pool) ${rest === 1 ? 'was' : 'were'} no candidate or had no score, and ${rest === 1 ? 'is' : 'are'} not drawn.`
}

/**
 * Histogram of the candidates' scores in about 50 bins of a round width. The axis spans the 0.5 % and 99.5 % quantiles of the
 * candidates and of the pick (each estimated on at most `SAMPLE` rows) and the boundary; rows beyond are counted in the
 * outermost bins. Undefined where no candidate has a score. O(N).
 */
export function scoreHistogram(scores: ReportScores, { count: n, selected }: ReportRows): ScoreHistogram | undefined {
  const { values, boundary } = scores
  const candidate = candidacy(scores)
  const member = (row: number) => candidate(row) && Number.isFinite(values[row])
  const pick = (row: number) => selected[row] !== 0 && member(row)
  const all = centralRange(values, n, member)
  if (!all) return undefined
  const ends = [...all, ...(centralRange(values, n, pick) ?? []), ...(Number.isFinite(boundary) ? [boundary!] : [])]
  const low = Math.min(...ends)
  const high = Math.max(...ends)
  // Equal scores still need a bin, and arithmetic must tell it from its neighbours.
  const width = roundStep(Math.max((high - low) / 50, 1e-6 * Math.max(Math.abs(low), Math.abs(high))) || 1)
  const first = Math.floor(low / width)
  const bins = Math.floor(high / width) - first + 1
  const start = first * width
  const histogram: ScoreHistogram = {
    ...{ start, width, scored: 0, below: 0, above: 0, least: Number.POSITIVE_INFINITY, most: Number.NEGATIVE_INFINITY },
    pool: new Float64Array(bins),
    picked: new Float64Array(bins),
  }
  for (let row = 0; row < n; row++) {
    if (!member(row)) continue
    const value = values[row]
    const bin = Math.floor(value / width) - first
    const inside = Math.max(0, Math.min(bins - 1, bin))
    histogram.pool[inside]++
    if (selected[row]) histogram.picked[inside]++
    histogram.scored++
    if (bin < 0) histogram.below++
    if (bin >= bins) histogram.above++
    histogram.least = Math.min(histogram.least, value)
    histogram.most = Math.max(histogram.most, value)
  }
  return histogram
}

/** The 0.5 % and 99.5 % quantiles of the members' values, on an even sample of them. Undefined of none. */
function centralRange(
  values: ArrayLike<number>,
  count: number,
  member: (row: number) => boolean,
): [number, number] | undefined {
  let members = 0
  for (let row = 0; row < count; row++) if (member(row)) members++
  if (members === 0) return undefined
  const stride = Math.ceil(members / SAMPLE)
  const sample = new Float64Array(Math.ceil(members / stride))
  for (let row = 0, seen = 0; row < count; row++) {
    if (!member(row)) continue
    if (seen % stride === 0) sample[seen / stride] = values[row]
    seen++
  }
  sample.sort()
  const last = sample.length - 1
  return [sample[Math.floor(0.005 * last)], sample[Math.ceil(0.995 * last)]]
}

/** The least of 1, 2, 5 x 10^k that is not below `least`. */
function roundStep(least: number): number {
  const power = Math.floor(Math.log10(least))
  // From its decimal form: 2 * 10 ** -5 is not the nearest number to 0.00002.
  const steps = [1, 2, 5, 10].map((factor) => Number(`${factor}e${power}`))
  return steps.find((step) => step >= least) ?? steps[3]
}

/** The count axis: square roots where the pick would hardly be seen beside the pool. */
function rowScale(pool: Float64Array, picked: Float64Array) {
  const most = Math.max(...pool)
  if (Math.max(...picked) >= most / 5) {
    const step = Math.max(1, roundStep(most / 6))
    const ticks = Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step)
    return { options: { domain: [0, most] }, label: 'rows', ticks }
  }
  const ticks = new Set([0])
  for (const share of [0.02, 0.1, 0.25, 0.5, 1]) {
    const tick = roundStep(most * share)
    ticks.add(tick <= most ? tick : roundStep((most * share) / 2.5))
  }
  const whole = [...ticks].filter((tick) => Number.isInteger(tick) && tick <= most)
  return { options: { type: 'sqrt' as const, domain: [0, most] }, label: 'rows (square-root scale)', ticks: whole }
}
