/** The page of an ablation: how much picks have in common, and what each selection took. */

import * as Plot from '@observablehq/plot'
import { type AblatedPick, type Ablation, ANOTHER_DRAW } from '../analysis/ablation.ts'
import { expectedOverlap } from '../analysis/overlap.ts'
import { pageOf } from './analysis.ts'
import { responsiveChart } from './chart.ts'
import { warningBox } from './headline.ts'
import { type Html, html, truncate } from './html.ts'
import { axisLabel, labelWidth, shorten } from './labels.ts'
import { count, counted, duration, figure, percent } from './numbers.ts'
import { disclosure, table } from './table.ts'
import { COLOUR } from './theme.ts'

export interface AblationPage {
  /** The pool's files. */
  title: string
  /** The command as it was typed. */
  command: string
  ablation: Ablation
  device: string
  versions: Readonly<Record<string, string>>
  notices: readonly string[]
}

/** Picks of a drawing, at most; the table names each. */
const MOST_PICKS = 24

/** The ablation as an HTML document, as `buildAnalysis`. Deterministic. */
export function buildAblation({ ablation, title, command, device, versions, notices }: AblationPage): string {
  const { budget, rows, picks } = ablation
  return pageOf(
    `${title} · winnow ablation`,
    html`<header>
<p class="eyebrow">winnow · ablation</p>
<h1><bdi>${title}</bdi></h1>
<p class="lead">${count(picks.length)} picks for a budget of <code>${budget}</code> from ${counted(rows, 'row')}, one option changed at a time.</p>
<p>Two picks that differ are not yet two picks of different worth: this page measures how much a choice of options matters to what is picked, not to a model.</p>
</header>
${warningBox(notices)}
${overlapSection(ablation)}
${timeSection(ablation)}
<section id="run"><h2>What was run</h2>
<code class="command">${command}</code>
<p>On ${device}; ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.</p>
</section>`,
  )
}

const label = ({ name, also }: AblatedPick) => [name, ...also].join(', ')

function overlapSection({ picks, overlap, rows }: Ablation): Html {
  const drawn = picks.slice(0, MOST_PICKS)
  const cells = drawn.flatMap((_, i) =>
    drawn.map((_, j) => ({ row: `pick ${i}`, column: `pick ${j}`, jaccard: overlap.jaccard[i][j] })),
  )
  type Cell = (typeof cells)[number]
  const keys = drawn.map((_, i) => `pick ${i}`)
  const number = (key: string) => String(Number(key.slice(5)) + 1)
  const again = picks.findIndex(({ name }) => name === ANOTHER_DRAW)
  const yardstick =
    again > 0
      ? ` Another draw from the base’s own signals shares ${percent(overlap.jaccard[0][again])} with it: what the method’s randomness alone changes.`
      : ''
  return html`<section id="overlap"><h2>What the picks have in common</h2>
<p>Jaccard’s index: rows in both of two picks, as a share of rows in either. Two random picks as large as the base would have ${percent(expectedOverlap(rows, overlap.sizes[0], overlap.sizes[0]).jaccard)}.${yardstick}</p>
${
  picks.some(({ agreement }, i) => i > 0 && agreement !== undefined) &&
  html`<p>Where a method draws from clusters, picks from equal clusters differ too. How far the clusters themselves agree with the base’s is in the table: the adjusted Rand
index, 1 for the same clusters, 0 for what chance gives.</p>`
}
<figure>${responsiveChart(
    {
      id: 'overlap',
      title: 'Jaccard’s index of every two picks',
      description: drawn.map((pick, i) => `${label(pick)}: ${percent(overlap.jaccard[0][i])} with the base`).join('; '),
    },
    (width, narrow) => {
      const names = new Map(
        drawn.map((pick, i) => [`pick ${i}`, shorten(`${i + 1}  ${axisLabel(label(pick))}`, narrow ? 100 : 260)]),
      )
      const margin = 16 + Math.max(...[...names.values()].map(labelWidth))
      const side = Math.min(52, (width - margin - 8) / drawn.length)
      return {
        height: 30 + drawn.length * Math.min(side, 34),
        width: Math.max(narrow ? 340 : 0, margin + 8 + drawn.length * side),
        ...{ marginLeft: margin, marginTop: 26, marginRight: 8, marginBottom: 4 },
        x: { domain: keys, axis: 'top', label: null, tickFormat: number, padding: 0.05, tickSize: 0 },
        y: { domain: keys, label: null, tickFormat: (key: string) => names.get(key)!, padding: 0.05, tickSize: 0 },
        marks: [
          Plot.cell(cells, {
            ...{ x: 'column', y: 'row', fill: COLOUR.picked },
            fillOpacity: (cell: Cell) => 0.08 + 0.7 * cell.jaccard,
          }),
          side < 24
            ? null
            : Plot.text(cells, {
                ...{ x: 'column', y: 'row', fill: COLOUR.ink, fontSize: narrow ? 9 : 12 },
                text: (cell: Cell) => cell.jaccard.toFixed(2).replace(/^0/, ''),
              }),
        ],
        opacity: { type: 'identity' },
        color: { type: 'identity' },
      }
    },
  )}</figure>
${disclosure(
  'Beside chance, as a table',
  table(
    'Picks, the base first',
    [
      { head: 'pick', cell: (i: number) => truncate(label(picks[i]), 200), kind: 'head' },
      { head: 'rows', cell: (i) => count(picks[i].selected), kind: 'number' },
      { head: 'tokens', cell: (i) => count(picks[i].tokens), kind: 'number' },
      { head: 'shared with the base', cell: (i) => count(overlap.shared[0][i]), kind: 'number' },
      { head: 'Jaccard', cell: (i) => percent(overlap.jaccard[0][i]), kind: 'number' },
      {
        head: 'random picks',
        cell: (i) => (i === 0 ? '–' : `${percent(overlap.expected[0][i])} ± ${percent(overlap.deviation[0][i])}`),
        kind: 'number',
      },
      {
        head: 'clusters like the base’s',
        cell: (i) => (picks[i].agreement === undefined || i === 0 ? '–' : figure(picks[i].agreement)),
        kind: 'number',
      },
    ],
    picks.map((_, i) => i),
  ),
)}
</section>`
}

function timeSection({ picks }: Ablation): Html {
  const names = [...new Set(picks.flatMap(({ stages }) => stages.map(({ name }) => name)))]
  return html`<section id="time"><h2>What each selection took</h2>
<p>Wall clock of the stages between reading the pool and the pick. A stage that several picks share (marked *) was computed once and counts in each of them.</p>
${table(
  'Seconds of each stage',
  [
    { head: 'pick', cell: (pick: AblatedPick) => truncate(label(pick), 200), kind: 'head' },
    { head: 'method', cell: ({ method }) => method },
    ...names.map((name) => ({
      head: name,
      cell: ({ stages }: AblatedPick) => {
        const stage = stages.find((one) => one.name === name)
        return stage === undefined ? '–' : `${duration(stage.seconds)}${stage.shared ? '*' : ''}`
      },
      kind: 'number' as const,
    })),
    { head: 'all', cell: ({ seconds }) => duration(seconds), kind: 'number' },
  ],
  picks,
)}
</section>`
}
