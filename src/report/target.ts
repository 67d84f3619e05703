/** How the pick spreads over the target: which target rows picked rows are near to, and which are left without any. */

import * as Plot from '@observablehq/plot'
import { legend, responsiveChart } from './chart.ts'
import type { Coverage, TargetNeighbours } from './coverage.ts'
import type { ReportData, ReportTarget } from './data.ts'
import { type Html, html, truncate } from './html.ts'
import { count, counted, percent } from './numbers.ts'
import type { ReportSummary } from './summary.ts'
import { COLOUR } from './theme.ts'

/** Past this many target rows, neighbours in the order of picks are averaged, so that the drawing stays small. */
const MOST_MARKS = 160

/** Longest text shown of a target row and of a row beside it, in UTF-16 units. */
const TEXT_LENGTH = 300

/** Left out (undefined) where rows have no nearest target row. */
export function targetSection(data: ReportData, { shown: { coverage } }: ReportSummary): Html | undefined {
  const { target } = data
  if (!target || !coverage) return undefined
  const { busiest, neglected } = coverage
  return html`<section id="target"><h2>${target.contrast ? 'Where the pick lies beside the target' : 'How the pick covers the target'}</h2>
<p>${words(target, coverage)}</p>
${coverage.pickedRows > 0 && figureOf(target, coverage)}
<div class="examples">${column(coverage.pickedRows > 0 ? 'Most picked rows' : 'Target rows', busiest, data, coverage)}${
    neglected.length > 0 && column(neglectedHead(neglected, coverage), neglected, data, coverage)
  }</div>
</section>`
}

function words(target: ReportTarget, coverage: Coverage): string {
  const { pickedRows, unreached, tenth } = coverage
  const m = target.rows
  const parts = [`Each row is counted at the one of ${counted(m, 'target row')} that it is nearest to.`]
  if (pickedRows === 0) return `${parts[0]} No row was picked.`
  if (target.contrast)
    parts.push('The target is what to move away from: these are the target rows that the pick is least far from.')
  parts.push(
    unreached === 0
      ? 'Every target row is the nearest of some picked row.'
      : `${counted(unreached, 'target row')} (${percent(unreached / m)}) ${unreached === 1 ? 'is' : 'are'} the nearest of no picked row.`,
  )
  if (m > 1)
    parts.push(
      `The busiest ${counted(tenth.rows, 'target row')} ${tenth.rows === 1 ? 'holds' : 'hold'} ${percent(tenth.pick)} of the pick${
        Number.isFinite(tenth.pool) ? `, and ${percent(tenth.pool)} of the candidates` : ''
      }.`,
    )
  if (!target.contrast)
    parts.push(
      'An even spread is not the aim: parts of the target that the pool covers well by itself need no more rows, and nearest rows are ' +
        'uneven in many dimensions, where a few target rows are near to much.',
    )
  return parts.join(' ')
}

interface Mark {
  from: number
  to: number
  picks: number
  /** Picked rows that would fall here, were the pick a random draw of the candidates. */
  expected: number
}

function figureOf(target: ReportTarget, coverage: Coverage): Html {
  const { pickedRows, poolRows, unreached } = coverage
  const marks = marksOf(coverage)
  const perMark = Math.ceil(coverage.order.length / MOST_MARKS)
  const mean = pickedRows / target.rows
  const most = Math.max(...marks.map((mark) => Math.max(mark.picks, mark.expected)))
  const root = most > 8 * mean
  // A stepped outline: each mark's level at both of its ends.
  const outline = marks.flatMap(({ from, to, picks }) => [
    { at: from, picks },
    { at: to, picks },
  ])
  return html`${legend([
    {
      label: perMark > 1 ? `picked rows (mean of ${perMark} neighbours)` : 'picked rows',
      colour: COLOUR.picked,
      mark: 'heavy',
    },
    { label: `as many drawn at random from ${counted(poolRows, 'candidate')}`, colour: COLOUR.pool, mark: 'box' },
  ])}
<figure>${responsiveChart(
    {
      id: 'target-coverage',
      title: 'Picked rows at each target row',
      description:
        `${counted(target.rows, 'target row')} in descending order of the picked rows that are nearest to them: the first has ` +
        `${count(coverage.picks[coverage.order[0]])}, ${count(unreached)} have none. ${words(target, coverage)}`,
    },
    (_width, narrow) => ({
      height: narrow ? 220 : 280,
      marginLeft: 46,
      marginBottom: 38,
      x: {
        domain: [0, target.rows],
        label: 'target rows, most picked rows first',
        ticks: narrow ? 4 : 8,
        tickFormat: (rank: number) => (Number.isInteger(rank) ? count(rank) : ''),
      },
      y: {
        type: root ? 'sqrt' : 'linear',
        domain: [0, most],
        label: root ? 'rows (square-root scale)' : 'rows',
        grid: true,
        ticks: 5,
      },
      marks: [
        Plot.rect(marks, { x1: 'from', x2: 'to', y1: 0, y2: 'expected', fill: COLOUR.pool }),
        Plot.line(outline, { x: 'at', y: 'picks', stroke: COLOUR.picked, strokeWidth: 2.25 }),
        Plot.ruleY([0], { stroke: COLOUR.muted }),
      ],
    }),
  )}</figure>`
}

function marksOf({ order, picks, pool, poolRows, pickedRows }: Coverage): Mark[] {
  const perMark = Math.ceil(order.length / MOST_MARKS)
  const marks: Mark[] = []
  for (let from = 0; from < order.length; from += perMark) {
    const members = order.subarray(from, from + perMark)
    const mean = (column: Uint32Array) => members.reduce((sum, at) => sum + column[at], 0) / members.length
    marks.push({
      from,
      to: from + members.length,
      picks: mean(picks),
      expected: poolRows === 0 ? 0 : (mean(pool) * pickedRows) / poolRows,
    })
  }
  return marks
}

function column(title: string, all: readonly TargetNeighbours[], data: ReportData, coverage: Coverage): Html {
  return html`<div><h3>${title}</h3>${all.map((one) => targetRow(one, data, coverage))}</div>`
}

function neglectedHead(neglected: readonly TargetNeighbours[], { picks, pool }: Coverage): string {
  if (picks[neglected[0].target] > 0) return 'Fewest picked rows'
  return pool[neglected[0].target] > 0
    ? 'No picked row, though there are candidates'
    : 'No picked row, and no candidate'
}

function targetRow({ target, rows }: TargetNeighbours, data: ReportData, { picks, pool }: Coverage): Html {
  const text = data.target?.texts.get(target)
  return html`<article class="example target">
<header><strong>target row ${count(target)}</strong> · nearest of ${count(picks[target])} picked ${picks[target] === 1 ? 'row' : 'rows'} and ${counted(pool[target], 'candidate')}</header>
${text !== undefined && html`<p class="text" dir="auto">${truncate(text, TEXT_LENGTH)}</p>`}
${[...rows].map((row) => neighbour(row, data))}</article>`
}

function neighbour(row: number, { rows, texts }: ReportData): Html {
  const text = texts.get(row)
  const state = rows.selected[row] ? 'picked' : 'not picked'
  return html`<p class="near">${state}: row ${count(row)}${text !== undefined && html`: <bdi>${truncate(text, TEXT_LENGTH)}</bdi>`}</p>`
}
