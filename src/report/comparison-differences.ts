/** Dots and intervals: how far each pick's model is from one trained on a random pick. */

import * as Plot from '@observablehq/plot'
import type { Judged, Summary } from '../evaluation/summary.ts'
import { legend, responsiveChart } from './chart.ts'
import { sentenceCase, withInterval } from './comparison-results.ts'
import { decimalsOf, fixed, onTests, scoreOf, tickDecimals } from './comparison-words.ts'
import { type Html, html } from './html.ts'
import { axisLabel, labelWidth, shortenMiddle } from './labels.ts'
import { COLOUR } from './theme.ts'

/** Height of a method's line in pixels. */
const LINE = 22

interface Drawn extends Judged {
  method: string
}

export function differenceSection(summary: Summary): Html | undefined {
  const [metric] = summary.metrics
  const drawn = summary.budgets.map((_, budget) => judgedAt(summary, budget))
  const all = drawn.flat()
  if (all.length === 0) return undefined
  // One axis for all budgets, so that they can be compared by eye.
  const ends = [0, ...all.flatMap(({ low, high }) => [low, high])]
  const [least, most] = [Math.min(...ends), Math.max(...ends)]
  const space = 0.04 * (most - least || 1)
  const domain: [number, number] = [least - space, most + space]
  const sides = metric.better === 'lower' ? ['better', 'worse'] : ['worse', 'better']
  return html`<section id="differences"><h2>Difference to random</h2>
<p>${sentenceCase(metric.title)}${onTests(summary)}, minus that of a random pick of the same budget; the best stand first. A bar is the 95&nbsp;% interval:
where it crosses 0, the test cannot tell the pick from a random one. ${sentenceCase(sides[0])} is to the left, ${sides[1]} to the right.</p>
${legend([
  { label: 'better than random', colour: COLOUR.picked, mark: 'dot' },
  { label: 'worse than random', colour: COLOUR.ink, mark: 'dot' },
  { label: 'not distinguishable (hollow)', colour: COLOUR.pool, mark: 'dot' },
])}
${summary.budgets.map(({ text }, budget) => drawn[budget].length > 0 && figureAt(summary, budget, text, drawn[budget], domain))}
</section>`
}

function judgedAt(summary: Summary, budget: number): Drawn[] {
  const [metric] = summary.metrics
  const better = metric.better === 'lower' ? 1 : -1
  return summary.rows
    .filter((row) => row.budget === budget)
    .flatMap((row) => {
      const difference = scoreOf(row, metric.name, null)?.toRandom
      return difference ? [{ ...difference, method: row.method }] : []
    })
    .sort((a, b) => better * (a.mean - b.mean))
}

function figureAt(
  summary: Summary,
  budget: number,
  text: string,
  drawn: readonly Drawn[],
  domain: [number, number],
): Html {
  const [metric] = summary.metrics
  const decimals = decimalsOf(summary, metric)
  const full = summary.rows.find(({ role }) => role === 'full')
  const toFull = (full && scoreOf(full, metric.name, null)?.toRandomAt?.[budget]) ?? undefined
  const within = toFull && toFull.mean >= domain[0] && toFull.mean <= domain[1]
  const words = drawn.map(
    ({ method, verdict, ...difference }) => `${method} ${withInterval(difference, decimals)}, ${verdict}`,
  )
  return html`<h3>At ${text}</h3>
<figure>${responsiveChart(
    {
      id: `difference-${budget}`,
      title: `Difference to random at ${text}`,
      description: `A dot and an interval a method: ${words.join('; ')}.`,
    },
    (width, narrow) => {
      const labels = new Map(drawn.map(({ method }) => [method, shortenMiddle(axisLabel(method), narrow ? 130 : 260)]))
      const margin = 12 + Math.max(...[...labels.values()].map(labelWidth))
      const colour = ({ verdict }: Drawn) =>
        verdict === 'better than random' ? COLOUR.picked : verdict === 'worse than random' ? COLOUR.ink : COLOUR.pool
      return {
        ...{
          width,
          height: LINE * drawn.length + 48,
          marginLeft: margin,
          marginRight: 14,
          marginTop: 6,
          marginBottom: 40,
        },
        x: {
          ...{
            domain,
            grid: true,
            ticks: narrow ? 4 : 8,
            tickFormat: (value: number) => fixed(value, tickDecimals(domain)),
          },
          label: narrow ? metric.unit : `difference in ${metric.title}${metric.unit && ` (${metric.unit})`}`,
        },
        y: {
          ...{ domain: drawn.map(({ method }) => method), label: null, tickSize: 0 },
          tickFormat: (method: string) => labels.get(method)!,
        },
        marks: [
          within ? Plot.ruleX([toFull.mean], { stroke: COLOUR.ink, strokeDasharray: '4,3' }) : null,
          Plot.ruleX([0], { stroke: COLOUR.ink, strokeWidth: 1.5 }),
          Plot.ruleY(drawn, { y: 'method', x1: 'low', x2: 'high', stroke: colour, strokeWidth: 3 }),
          Plot.dot(drawn, {
            ...{ y: 'method', x: 'mean', r: 5, stroke: colour, strokeWidth: 2 },
            fill: (one: Drawn) => (one.distinguishable ? colour(one) : COLOUR.surface),
          }),
        ],
      }
    },
  )}<figcaption>${
    toFull &&
    (within
      ? `Dashed: the whole pool, ${withInterval(toFull, decimals)}.`
      : `The whole pool lies outside: ${withInterval(toFull, decimals)}.`)
  }</figcaption></figure>`
}
