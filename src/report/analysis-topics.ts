/** Topics before and after the selection. */

import * as Plot from '@observablehq/plot'
import type { Analysis } from '../analysis/data.ts'
import { legend, responsiveChart } from './chart.ts'
import { type Html, html, truncate, visibleText } from './html.ts'
import { axisLabel, labelWidth, shorten } from './labels.ts'
import { count, counted, figure, percent } from './numbers.ts'
import { disclosure, table } from './table.ts'
import { COLOUR } from './theme.ts'

/** Topics drawn one by one; smaller ones are in the table. */
const MOST_TOPICS = 16

/** Left out (undefined) where rows name no source. */
export function topicSection({ topics, rows, selected }: Analysis): Html | undefined {
  if (topics === undefined) return undefined
  const { names, pool, picked, poolEntropy, entropy, variation } = topics
  const lines = names
    .map((name, i) => ({ name, pool: pool[i], picked: picked[i] }))
    .sort((a, b) => b.pool - a.pool || (a.name < b.name ? -1 : 1))
  type Line = (typeof lines)[number]
  const drawn = lines.slice(0, MOST_TOPICS)
  const bars = drawn.flatMap((line, i) => [
    { topic: `topic ${i}`, kind: 'pool', share: line.pool / rows },
    { topic: `topic ${i}`, kind: 'pick', share: line.picked / Math.max(1, selected) },
  ])
  type Bar = (typeof bars)[number]
  const lost = lines.filter((line) => line.picked === 0).length
  const said = `${percent(variation.found)} of the pick would have to be of another topic to have the pool’s shares (total variation); of a random pick of as many rows it is ${percent(variation.expected)} (95 % of draws ${percent(variation.low)} to ${percent(variation.high)}). The entropy of the topics is ${figure(entropy.found)} nats in the pick and ${figure(poolEntropy)} in the pool (random picks ${figure(entropy.low)} to ${figure(entropy.high)}): ${entropy.found > entropy.high ? 'the pick is more even' : entropy.found < entropy.low ? 'the pick is less even' : 'no more and no less even than chance makes it'}.`
  return html`<section id="topics"><h2>Topics before and after</h2>
<p>${said}${lost > 0 && ` ${counted(lost, 'topic')} ${lost === 1 ? 'has' : 'have'} no row in the pick.`}</p>
${legend([
  { label: `pool, ${counted(rows, 'row')}`, colour: COLOUR.pool, mark: 'box' },
  { label: `pick, ${counted(selected, 'row')}`, colour: COLOUR.picked, mark: 'box' },
])}
<figure>${responsiveChart(
    {
      id: 'topics-shares',
      title: 'Share of each topic in the pool and in the pick',
      description: drawn
        .map(
          (line) =>
            `${visibleText(truncate(line.name, 60))}: ${percent(line.pool / rows)} of the pool, ${percent(line.picked / selected)} of the pick`,
        )
        .join('; '),
    },
    (_width, narrow) => {
      const names = new Map(drawn.map((line, i) => [`topic ${i}`, shorten(axisLabel(line.name), narrow ? 100 : 220)]))
      return {
        height: 34 + drawn.length * 34,
        marginLeft: 26 + Math.max(...[...names.values()].map(labelWidth)),
        marginRight: 56,
        marginTop: 4,
        marginBottom: 30,
        x: {
          label: null,
          percent: true,
          ticks: narrow ? 3 : 8,
          tickFormat: (value: number) => `${value}\u00a0%`,
          nice: true,
        },
        y: { axis: null, domain: ['pool', 'pick'], padding: 0.12 },
        fy: { label: null, domain: [...names.keys()], padding: 0.22 },
        marks: [
          Plot.axisFy({ anchor: 'left', dx: -4, textAnchor: 'end', tickFormat: (key: string) => names.get(key)! }),
          Plot.barX(bars, {
            x: 'share',
            y: 'kind',
            fy: 'topic',
            fill: (bar: Bar) => (bar.kind === 'pool' ? COLOUR.pool : COLOUR.picked),
          }),
          Plot.text(bars, {
            ...{ x: 'share', y: 'kind', fy: 'topic', text: (bar: Bar) => percent(bar.share) },
            ...{ textAnchor: 'start', dx: 5, fill: COLOUR.ink },
          }),
          Plot.ruleX([0], { stroke: COLOUR.muted }),
        ],
        color: { type: 'identity' },
      }
    },
  )}</figure>
${disclosure(
  `${lines.length > drawn.length ? `All ${count(lines.length)} topics` : 'The same'} as a table`,
  table(
    'Topics, largest first',
    [
      { head: 'topic', cell: (line: Line) => truncate(line.name, 200), kind: 'head' },
      { head: 'rows', cell: (line) => count(line.pool), kind: 'number' },
      { head: 'share of pool', cell: (line) => percent(line.pool / rows), kind: 'number' },
      { head: 'picked', cell: (line) => count(line.picked), kind: 'number' },
      { head: 'share of pick', cell: (line) => percent(line.picked / selected), kind: 'number' },
    ],
    lines,
  ),
)}
</section>`
}
