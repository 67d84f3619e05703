/** Scores against budgets, with full data and the untouched model as lines. */

import * as Plot from '@observablehq/plot'
import type { Summary, SummaryRow } from '../evaluation/summary.ts'
import { type LegendEntry, legend, responsiveChart } from './chart.ts'
import { sentenceCase } from './comparison-results.ts'
import { decimalsOf, fixed, onTests, scoreOf, tickDecimals } from './comparison-words.ts'
import { type Html, html } from './html.ts'
import { axisLabel, labelWidth, shortenMiddle } from './labels.ts'
import { COLOUR } from './theme.ts'

/** Most names beside the curves; the others are in the table. */
const NAMES = 12
/** Pixels between two names. */
const APART = 14

interface Curve {
  method: string
  role: SummaryRow['role']
  /** Better than random at some budget. */
  better: boolean
  points: { method: string; budget: string; value: number }[]
}

/** Undefined with fewer than two budgets: there is no curve. */
export function curveSection(summary: Summary): Html | undefined {
  const { metrics, budgets } = summary
  if (budgets.length < 2) return undefined
  const [metric] = metrics
  const decimals = decimalsOf(summary, metric)
  const curves = curvesOf(summary).sort((a, b) => rank(a) - rank(b))
  const means = curves.flatMap(({ points }) => points.map(({ value }) => value))
  if (means.length === 0) return undefined
  const reference = (role: SummaryRow['role']) =>
    scoreOf(
      summary.rows.find((row) => row.role === role),
      metric.name,
      null,
    )?.mean
  const references = [
    { name: 'the whole pool', value: reference('full'), colour: COLOUR.ink },
    { name: 'the untouched model', value: reference('none'), colour: COLOUR.muted },
  ].filter((one): one is { name: string; value: number; colour: 'var(--ink)' } => one.value !== undefined)
  const domain = rangeOf(
    means,
    references.map(({ value }) => value),
  )
  const inside = references.filter(({ value }) => value >= domain[0] && value <= domain[1])
  const outside = references.filter((one) => !inside.includes(one))
  const entries: LegendEntry[] = [
    { label: 'random', colour: COLOUR.ink, mark: 'heavy' },
    { label: 'better than random at some budget', colour: COLOUR.picked, mark: 'line' },
    { label: 'other methods', colour: COLOUR.pool, mark: 'line' },
    ...inside.map(
      ({ name, value, colour }): LegendEntry => ({
        label: `${name}: ${fixed(value, decimals)}`,
        colour,
        mark: 'dashed',
      }),
    ),
  ]
  return html`<section id="curves"><h2>Score against budget</h2>
<p>${sentenceCase(metric.title)}${metric.unit && ` in ${metric.unit}`}${onTests(summary)}; ${metric.better} is better. Lines join the means over seeds.</p>
${legend(entries)}
<figure>${responsiveChart(
    {
      id: 'score-curves',
      title: `${sentenceCase(metric.title)} against budget`,
      description: `A line a method over the budgets ${budgets.map(({ text }) => text).join(', ')}: ${curves
        .map(({ method, points }) => `${method} ${points.map(({ value }) => fixed(value, decimals)).join(', ')}`)
        .join('; ')}.`,
    },
    (width, narrow) => {
      const height = narrow ? 320 : 420
      const [marginTop, marginBottom] = [14, 38]
      const named = curves.slice(-NAMES).filter(({ points }) => points.length > 0)
      const labels = named.map(({ method }) => shortenMiddle(axisLabel(method), narrow ? 110 : 240))
      const scale = (height - marginTop - marginBottom) / (domain[1] - domain[0])
      const at = spreadOut(
        named.map(({ points }) => (domain[1] - points[points.length - 1].value) * scale),
        height - marginTop - marginBottom,
      )
      const marginRight = 14 + Math.max(...labels.map(labelWidth))
      const marginLeft = 54
      return {
        ...{ width, height, marginTop, marginBottom, marginLeft, marginRight },
        x: { type: 'point', domain: budgets.map(({ text }) => text), label: 'budget', padding: 0.05 },
        y: {
          domain,
          grid: true,
          label: null,
          ticks: 6,
          tickFormat: (value: number) => fixed(value, tickDecimals(domain)),
        },
        marks: [
          ...inside.map(({ value, colour }) => Plot.ruleY([value], { stroke: colour, strokeDasharray: '4,3' })),
          ...curves.map((curve) => [
            Plot.line(curve.points, {
              x: 'budget',
              y: 'value',
              stroke: colourOf(curve),
              strokeWidth: curve.role === 'random' ? 3 : 1.75,
            }),
            Plot.dot(curve.points, { x: 'budget', y: 'value', fill: colourOf(curve), r: 3 }),
          ]),
          ...named.map((curve, i) =>
            Plot.text([labels[i]], {
              ...{ frameAnchor: 'top-right', textAnchor: 'start', lineAnchor: 'middle' },
              ...{ dx: 8, dy: at[i], text: [labels[i]] },
              fill: curve.role === 'random' || !curve.better ? COLOUR.ink : COLOUR.picked,
            }),
          ),
        ].flat(),
      }
    },
  )}<figcaption>${outside.map(({ name, value }) => `${sentenceCase(name)} lies outside, at ${fixed(value, decimals)}. `)}${
    curves.length > NAMES && `Names are given to ${NAMES} lines; all values are in the table above.`
  }</figcaption></figure>
</section>`
}

/** Drawn in this order, so that random and what beats it lie on top and get names first. */
const rank = ({ role, better }: Curve) => (role === 'random' ? 2 : better ? 1 : 0)

const colourOf = ({ role, better }: Curve) => (role === 'random' ? COLOUR.ink : better ? COLOUR.picked : COLOUR.pool)

function curvesOf({ methods, rows, metrics, budgets }: Summary): Curve[] {
  return methods.map(({ label }) => {
    const own = rows.filter((row) => row.method === label && row.budget >= 0)
    const scores = own.map((row) => ({ row, score: scoreOf(row, metrics[0].name, null)! }))
    return {
      method: label,
      role: own[0]?.role ?? 'method',
      better: scores.some(({ score }) => score.toRandom?.verdict === 'better than random'),
      points: scores.map(({ row, score }) => ({ method: label, budget: budgets[row.budget].text, value: score.mean })),
    }
  })
}

/** The methods' range, widened to a reference only where that leaves them at least a third of the axis. */
function rangeOf(means: readonly number[], references: readonly number[]): [number, number] {
  let [low, high] = [Math.min(...means), Math.max(...means)]
  const height = high - low || Math.abs(high) || 1
  for (const value of references) {
    if (Math.max(high, value) - Math.min(low, value) > 3 * height) continue
    ;[low, high] = [Math.min(low, value), Math.max(high, value)]
  }
  const space = 0.05 * (high - low || height)
  return [low - space, high + space]
}

/** Heights moved apart to at least `APART` pixels, in the same order, within the frame where there is room. */
export function spreadOut(heights: readonly number[], frame: number): number[] {
  const order = heights.map((_, i) => i).sort((a, b) => heights[a] - heights[b] || a - b)
  const placed = [...heights]
  for (let n = 1; n < order.length; n++) placed[order[n]] = Math.max(placed[order[n]], placed[order[n - 1]] + APART)
  let floor = frame
  for (let n = order.length - 1; n >= 0; n--) {
    placed[order[n]] = Math.min(placed[order[n]], floor)
    floor = placed[order[n]] - APART
  }
  return placed
}
