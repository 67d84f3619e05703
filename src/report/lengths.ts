/** Lengths of the rows before and after the pick: budgets are rows or tokens, and models train on tokens. */

import * as Plot from '@observablehq/plot'
import { legend, responsiveChart } from './chart.ts'
import type { ReportData, ReportRows } from './data.ts'
import { type Html, html } from './html.ts'
import { count, counted, percent } from './numbers.ts'
import type { ReportSummary } from './summary.ts'
import { disclosure, table } from './table.ts'
import { COLOUR } from './theme.ts'

/** Lengths are counted one by one up to here; longer rows (none fits a model's window) count as this long in quantiles. */
const LONGEST = 1 << 22

/** Rows of each length, [longest + 1]. */
type LengthCounts = Float64Array

export interface LengthHistogram {
  /** Tokens a bin; bin b holds lengths in [b width, (b + 1) width). */
  width: number
  /** Shares of pool and pick in each bin; the last one also holds every longer row. */
  pool: number[]
  picked: number[]
  /** Rows of the pool beyond the end of the last bin. */
  beyond: number
}

/** Left out (undefined) where no row has a token count. */
export function lengthSection({ rows }: ReportData, summary: ReportSummary): Html | undefined {
  const { pool, picked } = countLengths(rows)
  if (summary.tokens === 0) return undefined
  const histogram = lengthHistogram(pool, picked)
  const before = quantiles(pool)
  const after = quantiles(picked)
  const { width } = histogram
  const end = width * histogram.pool.length
  const bins = histogram.pool.map((share, b) => ({ from: b * width, to: (b + 1) * width, share }))
  // A stepped outline: each bin's level at both of its ends.
  const outline = histogram.picked.flatMap((share, b) => [
    { at: b * width, share },
    { at: (b + 1) * width, share },
  ])
  const medians = `The median is ${counted(before.median, 'token')} in the pool${
    summary.selectedRows > 0 ? ` and ${count(after.median)} in the pick` : ''
  }`
  return html`<section id="lengths"><h2>How long the rows are</h2>
<p>${medians}; the means are ${(summary.tokens / summary.rows).toFixed(1)}${
    summary.selectedRows > 0 && ` and ${(summary.selectedTokens / summary.selectedRows).toFixed(1)}`
  }. Training costs tokens, not rows: where the pick is made of longer rows than the pool, it costs more than its share of rows says.</p>
${legend([
  { label: `pool, ${counted(summary.rows, 'row')}`, colour: COLOUR.pool, mark: 'box' },
  { label: `pick, ${counted(summary.selectedRows, 'row')}`, colour: COLOUR.picked, mark: 'heavy' },
])}
<figure>${responsiveChart(
    {
      id: 'length-histogram',
      title: 'Distribution of row lengths in the pool and in the pick',
      description: `Histogram with bins of ${counted(width, 'token')}, up to ${counted(end, 'token')}. ${medians}.`,
    },
    (_width, narrow) => ({
      height: narrow ? 220 : 280,
      marginLeft: 46,
      marginBottom: 38,
      x: { domain: [0, end], label: 'tokens', ticks: narrow ? 5 : 10, tickFormat: (tokens: number) => count(tokens) },
      y: {
        label: 'share of rows',
        percent: true,
        grid: true,
        ticks: 5,
        tickFormat: (value: number) => `${value}\u00a0%`,
      },
      marks: [
        Plot.rect(bins, { x1: 'from', x2: 'to', y1: 0, y2: 'share', fill: COLOUR.pool, insetRight: narrow ? 0.5 : 1 }),
        summary.selectedRows > 0
          ? Plot.line(outline, { x: 'at', y: 'share', stroke: COLOUR.picked, strokeWidth: 2.25 })
          : null,
        Plot.ruleY([0], { stroke: COLOUR.muted }),
      ],
    }),
  )}<figcaption>Bins of ${counted(width, 'token')}.${
    histogram.beyond > 0 &&
    ` ${counted(histogram.beyond, 'longer row')} (${percent(histogram.beyond / summary.rows)} of the pool, up to ${count(before.longest)} tokens) ${
      histogram.beyond === 1 ? 'is' : 'are'
    } counted in the last bin.`
  }</figcaption></figure>
${disclosure(
  'The same as a table',
  table(
    'Tokens a row',
    [
      { head: '', cell: ([name]: LengthLine) => name, kind: 'head' },
      { head: 'pool', cell: ([, value]) => count(value), kind: 'number' },
      { head: 'pick', cell: ([, , value]) => (Number.isNaN(value) ? '–' : count(value)), kind: 'number' },
    ],
    lengthLines(before, after, summary),
  ),
)}
</section>`
}

/** Name of a figure, its value in the pool and in the pick. */
type LengthLine = readonly [name: string, pool: number, pick: number]

function lengthLines(before: Quantiles, after: Quantiles, summary: ReportSummary): LengthLine[] {
  return [
    ['shortest', before.shortest, after.shortest],
    ['5 % are at most', before.low, after.low],
    ['25 % are at most', before.lower, after.lower],
    ['median', before.median, after.median],
    ['75 % are at most', before.upper, after.upper],
    ['95 % are at most', before.high, after.high],
    ['longest', before.longest, after.longest],
    ['all tokens', summary.tokens, summary.selectedTokens],
  ]
}

function countLengths({ count, lengths, selected }: ReportRows): { pool: LengthCounts; picked: LengthCounts } {
  let longest = 0
  for (let row = 0; row < count; row++) longest = Math.max(longest, lengths[row])
  const slots = Math.min(longest, LONGEST) + 1
  const pool = new Float64Array(slots)
  const picked = new Float64Array(slots)
  for (let row = 0; row < count; row++) {
    const length = Math.min(lengths[row], LONGEST)
    pool[length]++
    if (selected[row]) picked[length]++
  }
  return { pool, picked }
}

interface Quantiles {
  shortest: number
  low: number
  lower: number
  median: number
  upper: number
  high: number
  longest: number
}

/** Lower quantiles of counted lengths: the least length that at least a share q of the rows do not exceed. NaN of no rows. */
function quantiles(counts: LengthCounts): Quantiles {
  const total = counts.reduce((sum, rows) => sum + rows, 0)
  const at = (share: number) => {
    if (total === 0) return Number.NaN
    let seen = 0
    for (let length = 0; length < counts.length; length++) {
      seen += counts[length]
      if (seen > 0 && seen >= share * total) return length
    }
    return counts.length - 1
  }
  return {
    shortest: at(0),
    low: at(0.05),
    lower: at(0.25),
    median: at(0.5),
    upper: at(0.75),
    high: at(0.95),
    longest: at(1),
  }
}

/**
 * Histogram in at most 40 bins of a round width (1, 2, 5, 10, … tokens), long enough for 99 % of the pool: a single long
 * row must not squeeze the rest.
 */
export function lengthHistogram(pool: LengthCounts, picked: LengthCounts): LengthHistogram {
  const rows = pool.reduce((sum, n) => sum + n, 0)
  const selected = picked.reduce((sum, n) => sum + n, 0)
  let reach = 0
  for (let seen = 0; reach < pool.length; reach++) {
    seen += pool[reach]
    if (seen >= 0.99 * rows) break
  }
  const width = roundWidth((reach + 1) / 40)
  const bins = Math.ceil((reach + 1) / width)
  const histogram: LengthHistogram = {
    width,
    pool: new Array(bins).fill(0),
    picked: new Array(bins).fill(0),
    beyond: 0,
  }
  for (let length = 0; length < pool.length; length++) {
    if (pool[length] === 0) continue
    const bin = Math.min(bins - 1, Math.floor(length / width))
    histogram.pool[bin] += pool[length] / rows
    if (selected > 0) histogram.picked[bin] += picked[length] / selected
    if (length >= bins * width) histogram.beyond += pool[length]
  }
  return histogram
}

function roundWidth(least: number): number {
  const power = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(1, least))))
  return ([1, 2, 5].find((factor) => factor * power >= least) ?? 10) * power
}
