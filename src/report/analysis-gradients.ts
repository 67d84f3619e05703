/** Whether rows of one group have similar gradients, checkpoint by checkpoint. */

import * as Plot from '@observablehq/plot'
import type { Analysis, GradientsAtCheckpoint } from '../analysis/data.ts'
import type { SimilarityTest } from '../analysis/gradient-similarity.ts'
import { legend, responsiveChart } from './chart.ts'
import { type Html, html } from './html.ts'
import { count, counted, figure, nats, percent } from './numbers.ts'
import { table } from './table.ts'
import { COLOUR } from './theme.ts'

/** Left out (undefined) where no gradients were compared. */
export function gradientSection({ gradients }: Analysis): Html | undefined {
  if (gradients === undefined) return undefined
  const { rows, groups, groupedBy, parameters, dimensions, checkpoints } = gradients
  const of = (at: GradientsAtCheckpoint) => (groupedBy === 'clusters' ? at.clusters : at.sources)
  const points = checkpoints.flatMap((at) => {
    const test = of(at)
    if (test === undefined) return []
    return [
      { step: at.step, kind: 'within', cosine: test.within },
      { step: at.step, kind: 'across', cosine: test.across },
    ]
  })
  type Point = (typeof points)[number]
  const group = groupedBy === 'clusters' ? 'cluster' : 'source'
  const last = checkpoints.at(-1)
  const said = last && of(last) ? inWords(of(last) as SimilarityTest, last.step, group) : ''
  const sketched =
    dimensions < parameters
      ? ` Gradients of ${count(parameters)} parameters were compared as random sketches of ${count(dimensions)} numbers, whose cosines are off by ${figure(Math.sqrt(2 / dimensions))} or less (one standard error).`
      : ''
  return html`<section id="gradients"><h2>Gradients of rows that lie together</h2>
<p>The gradient of each row’s mean loss was taken by all of the proxy’s ${count(parameters)} trained parameters, for ${counted(rows, 'row')} of ${counted(groups, group)}. ${said}${sketched}</p>
${
  points.length > 0 &&
  html`${legend([
    { label: `rows of one ${group}`, colour: COLOUR.picked, mark: 'dot' },
    { label: `rows of different ${group}s`, colour: COLOUR.pool, mark: 'dot' },
  ])}
<figure>${responsiveChart(
    {
      id: 'gradient-cosines',
      title: 'Mean cosine of gradients within and across groups',
      description: checkpoints
        .map(
          (at) =>
            `step ${at.step}: ${figure(of(at)?.within ?? Number.NaN)} within, ${figure(of(at)?.across ?? Number.NaN)} across`,
        )
        .join('; '),
    },
    (_width, narrow) => ({
      height: narrow ? 220 : 260,
      marginLeft: 52,
      marginBottom: 38,
      x: {
        label: 'step of the proxy’s training',
        domain: [0, Math.max(...points.map(({ step }) => step))],
        ticks: narrow ? 4 : 8,
      },
      y: { label: 'mean cosine', grid: true, zero: true, nice: true },
      marks: [
        Plot.ruleY([0], { stroke: COLOUR.muted }),
        Plot.line(points, { x: 'step', y: 'cosine', z: 'kind', stroke: colourOf }),
        Plot.dot(points, { x: 'step', y: 'cosine', r: 4, fill: colourOf }),
      ],
      color: { type: 'identity' },
    }),
  )}</figure>`
}
${tests(checkpoints)}
<p>Where medians differ by far less than means, a few groups of nearly equal rows carry the difference. Pairs of rows are no independent observations. Intervals come from rows drawn with replacement, p from labels permuted over rows; “within one source” counts only pairs
of rows of the same source and permutes labels inside it: whether clusters tell more than sources do.</p>
${slopes(checkpoints)}
</section>`

  function colourOf(point: Point) {
    return point.kind === 'within' ? COLOUR.picked : COLOUR.pool
  }
}

function inWords({ within, across, median, interval, p }: SimilarityTest, step: number, group: string): string {
  const beside = interval[0] > 0 ? 'So they are more alike' : 'So this sample does not tell them apart'
  return `At step ${count(step)} two rows of one ${group} have a mean cosine of ${figure(within)}, of different ${group}s ${figure(across)}: a difference of ${figure(within - across)} (95 % interval ${figure(interval[0])} to ${figure(interval[1])}, p ${probability(p)}); the medians are ${figure(median.within)} and ${figure(median.across)}. ${beside}.`
}

const probability = (p: number): string => (p < 0.0005 ? p.toExponential(1) : p.toFixed(3))

function tests(checkpoints: readonly GradientsAtCheckpoint[]): Html {
  const lines = checkpoints.flatMap((at) =>
    (
      [
        ['one cluster', at.clusters],
        ['one cluster, within one source', at.clustersWithinSource],
        ['one source', at.sources],
      ] as const
    ).flatMap(([name, test]) => (test === undefined ? [] : [{ at, name, test }])),
  )
  type Line = (typeof lines)[number]
  return table(
    'Mean cosines of gradients',
    [
      { head: 'step', cell: ({ at }: Line) => count(at.step), kind: 'head' },
      { head: 'mean loss', cell: ({ at }) => nats(at.nll), kind: 'number' },
      { head: 'rows of', cell: ({ name }) => name },
      { head: 'within', cell: ({ test }) => figure(test.within), kind: 'number' },
      { head: 'across', cell: ({ test }) => figure(test.across), kind: 'number' },
      {
        head: 'medians',
        cell: ({ test }) => `${figure(test.median.within)}, ${figure(test.median.across)}`,
        kind: 'number',
      },
      { head: 'difference', cell: ({ test }) => figure(test.difference), kind: 'number' },
      {
        head: '95 % interval',
        cell: ({ test }) => `${figure(test.interval[0])} to ${figure(test.interval[1])}`,
        kind: 'number',
      },
      { head: 'p', cell: ({ test }) => probability(test.p), kind: 'number' },
      { head: 'pairs within', cell: ({ test }) => count(test.pairs.within), kind: 'number' },
    ],
    lines,
  )
}

/** What S2L's bound speaks of: agreement along the way that the run went. */
function slopes(checkpoints: readonly GradientsAtCheckpoint[]): Html | undefined {
  const lines = checkpoints.flatMap(({ step, along }) =>
    (
      [
        ['clusters', along?.clusters],
        ['sources', along?.sources],
      ] as const
    ).flatMap(([name, share]) => (share === undefined ? [] : [{ step, name, share }])),
  )
  if (lines.length === 0) return undefined
  type Line = (typeof lines)[number]
  return html`<h3>Along the way that the run went</h3>
<p>Losses that fall alike bound how far gradients differ along the way between two checkpoints, not in all directions (S2L’s bound, which assumes little curvature). So the slope of
each row’s loss along that way, from the checkpoint before (at the first, to the one after), should be much alike inside a cluster.</p>
${table(
  'Share of the slopes’ variance that lies between groups',
  [
    { head: 'step', cell: ({ step }: Line) => count(step), kind: 'head' },
    { head: 'between', cell: ({ name }) => name },
    { head: 'share', cell: ({ share }) => percent(share.found), kind: 'number' },
    { head: 'by chance', cell: ({ share }) => percent(share.expected), kind: 'number' },
    {
      head: '95 % of draws',
      cell: ({ share }) => `${percent(share.low)} to ${percent(share.high)}`,
      kind: 'number',
    },
    { head: 'p', cell: ({ share }) => probability(share.p), kind: 'number' },
  ],
  lines,
)}`
}
