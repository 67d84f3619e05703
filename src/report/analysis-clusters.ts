/** How far clusters gather topics: the commonest topic of each, beside what chance gives clusters of those sizes. */

import * as Plot from '@observablehq/plot'
import type { Analysis, ClusterLine } from '../analysis/data.ts'
import type { Chance } from '../analysis/topics.ts'
import { responsiveChart } from './chart.ts'
import { type Html, html, truncate } from './html.ts'
import { count, percent } from './numbers.ts'
import { disclosure, table } from './table.ts'
import { COLOUR } from './theme.ts'

/** Left out (undefined) where there are no clusters, or rows name no source. */
export function clusterTopicSection({ clusters }: Analysis): Html | undefined {
  if (clusters === undefined) return undefined
  const { top1, commonest, list } = clusters
  const said = `${percent(top1.found)} of the clustered rows are of the commonest topic of their cluster. ${expectedInWords(top1)} One topic makes up ${percent(commonest)} of all, so a single cluster would have that.`
  return html`<section id="cluster-topics"><h2>What the clusters gather</h2>
<p>A row’s topic is its source. ${said} ${
    top1.found > top1.high
      ? 'So trajectories tell topics apart, to that extent.'
      : 'So these clusters gather topics no better than chance.'
  }</p>
<figure>${responsiveChart(
    {
      id: 'top-topic',
      title: 'Share of the commonest topic in each cluster',
      description: `${count(list.length)} clusters. ${said}`,
    },
    (_width, narrow) => ({
      height: narrow ? 240 : 300,
      marginLeft: 52,
      marginBottom: 38,
      x: { type: 'log', label: 'rows in the cluster (log scale)', tickFormat: (rows: number) => count(rows) },
      y: { domain: [0, 100], percent: true, label: 'share of the commonest topic, %', grid: true },
      marks: [
        Plot.ruleY([top1.expected], { stroke: COLOUR.ink, strokeDasharray: '4,3' }),
        Plot.dot(list, {
          x: 'rows',
          y: (line: ClusterLine) => line.share,
          r: 3.5,
          fill: COLOUR.picked,
          fillOpacity: 0.75,
        }),
      ],
    }),
  )}<figcaption>A dot for each cluster. The dashed line is the mean share, weighted by rows, of random clusters of these sizes.</figcaption></figure>
${disclosure(
  'The same as a table',
  table(
    'Clusters, largest first',
    [
      { head: 'cluster', cell: (line: ClusterLine) => String(line.cluster), kind: 'head' },
      { head: 'rows', cell: (line) => count(line.rows), kind: 'number' },
      { head: 'picked', cell: (line) => count(line.selected), kind: 'number' },
      { head: 'commonest topic', cell: (line) => truncate(line.topic, 80) },
      { head: 'its share', cell: (line) => percent(line.share), kind: 'number' },
    ],
    list.toSorted((a, b) => b.rows - a.rows || a.cluster - b.cluster),
  ),
)}
</section>`
}

export const expectedInWords = ({ expected, low, high }: Chance): string =>
  `Random clusters of the same sizes have ${percent(expected)} (95 % of draws ${percent(low)} to ${percent(high)}).`
