/** What `compare` says at its end: the table of results, how to read it, and what it cost. */

import type { Summary, Verdict } from '../evaluation/summary.ts'
import { costSentences, paysAbove } from '../report/comparison-payback.ts'
import {
  cautions,
  decimalsOf,
  findings,
  fixed,
  listed,
  MARKS,
  onTests,
  type ResultRow,
  reading,
  resultRows,
  signed,
  spread,
} from '../report/comparison-words.ts'
import { duration, scaled } from './numbers.ts'
import { plain, type Terminal, width, wrap } from './terminal.ts'

/** The widest line, whatever the terminal. */
const COLUMNS = 100
const GAP = '  '
/** Characters of a method's name. */
const NAME = 21

/** Where block characters cannot be shown. */
const PLAIN_MARKS: Record<string, string> = { '▲': '^', '▼': 'v', '·': '=', '−': '-', '±': '+-', '–': '-', '’': "'" }

/** What stands in the table of costs. */
const COSTS = [
  'Selection is told as if each method had been run alone. Pays at: how many parameters the target must have for the pick to save more FLOPs than it cost.',
]

/** The summary as a person reads it in a terminal: at most 100 columns, and no more than the terminal has. */
export function renderComparison(summary: Summary, terminal: Terminal): string {
  const columns = Math.min(COLUMNS, Math.max(40, terminal.columns() - 1))
  const lines = (texts: readonly string[]) =>
    texts
      .map((text) =>
        wrap(plain(text), columns - 2)
          .map((line, i) => `${i === 0 ? '' : '  '}${line.replaceAll('\u00a0', ' ')}\n`)
          .join(''),
      )
      .join('')
  const [metric] = summary.metrics
  const title = `${metric.title}${metric.unit && ` (${metric.unit})`}${onTests(summary)}, ${metric.better} is better`
  const bold = (text: string) => terminal.style('bold', text)
  const text = [
    `\n${bold(lines([`${title[0].toUpperCase()}${title.slice(1)}`]).trimEnd())}\n\n`,
    results(summary, terminal, columns),
    `\n${lines(key(summary))}`,
    `\n${bold('What it says')}\n${lines(findings(summary))}`,
    `\n${bold('What it cost')}\n${costTable(summary, columns)}${lines(COSTS)}\n${lines(costSentences(summary))}`,
  ]
  const warned = cautions(summary)
  if (warned.length > 0) text.push(`\n${bold('Beware')}\n${lines(warned)}`)
  return terminal.unicode ? text.join('') : ascii(text.join(''))
}

function ascii(text: string): string {
  return text.replace(/[▲▼·−±–’]/g, (character) => PLAIN_MARKS[character])
}

/** What the marks and the second line of a cell are, what was held equal, and what else was measured. */
function key(summary: Summary): string[] {
  const { seeds, metrics } = summary
  const marks = Object.entries(MARKS).map(([verdict, mark]) => `${mark}\u00a0${verdict.replaceAll(' ', '\u00a0')}`)
  const first = seeds.length > 1 ? 'mean ± standard deviation over seeds' : 'the score'
  const others = metrics.slice(1).map(({ title }) => title)
  return [
    `First line: ${first}. Second: difference to random at the same budget [95\u00a0% interval]. ${marks.join(', ')}.`,
    reading(summary)[0],
    ...(others.length > 0 ? [`Also measured, and shown in the report and by --json: ${listed(others)}.`] : []),
  ]
}

/** Two lines a method, a column a budget; as many tables as it takes to stay within the columns. */
function results(summary: Summary, terminal: Terminal, columns: number): string {
  const [metric] = summary.metrics
  const decimals = decimalsOf(summary, metric)
  const cellOf = ({ cells }: ResultRow, budget: number): [string, string, Verdict?] => {
    const cell = cells[budget]
    if (!cell) return ['–', '']
    const score = spread(cell.score, decimals)
    const { toRandom } = cell
    if (!toRandom) return [score, '']
    const interval = `[${fixed(toRandom.low, decimals)},${fixed(toRandom.high, decimals)}]`
    return [score, `${signed(toRandom.mean, decimals)} ${interval} ${MARKS[toRandom.verdict]}`, toRandom.verdict]
  }
  const rows = resultRows(summary, metric.name).flatMap((row) => {
    const [name, below] = namesOf(plain(row.method), row.role)
    const cells = summary.budgets.map((_, budget) => cellOf(row, budget))
    const lower = [cut(below, NAME), ...cells.map(([, text, verdict]) => coloured(text, verdict, terminal))]
    return [[cut(name, NAME), ...cells.map(([text]) => text)], lower].filter((line) => line.some((text) => text !== ''))
  })
  return table(['', ...summary.budgets.map(({ text }) => plain(text))], rows, columns, 'left')
}

/** The first column and as many of the others as fit; then a further table for the rest. */
function table(head: string[], rows: readonly string[][], columns: number, flush: 'left' | 'right'): string {
  const widths = head.map((text, i) => Math.max(width(text), ...rows.map((row) => width(row[i]))))
  const blocks: number[][] = []
  let room = 0
  for (const [i, wide] of widths.entries()) {
    if (i === 0) continue
    if (blocks.length === 0 || room < wide + GAP.length) {
      blocks.push([])
      room = columns - widths[0]
    }
    blocks[blocks.length - 1].push(i)
    room -= wide + GAP.length
  }
  const pad = (text: string, i: number) => {
    const space = ' '.repeat(widths[i] - width(text))
    return i === 0 || flush === 'left' ? text + space : space + text
  }
  const line = (cells: readonly string[], block: readonly number[]) =>
    `${[0, ...block].map((i) => pad(cells[i], i)).join(GAP)}`.trimEnd()
  return blocks.map((block) => [head, ...rows].map((cells) => `${line(cells, block)}\n`).join('')).join('\n')
}

function coloured(text: string, verdict: Verdict | undefined, terminal: Terminal): string {
  if (verdict === 'better than random') return terminal.style('green', text)
  return verdict === 'worse than random' ? terminal.style('red', text) : text
}

/** A label on two lines: the checkpoint stands under the method. */
function namesOf(label: string, role: ResultRow['role']): [string, string] {
  if (role === 'full') return [label, '  the whole pool']
  if (role === 'none') return [label, '  untouched model']
  const at = label.indexOf('@')
  return at > 0 ? [label.slice(0, at), `  ${label.slice(at)}`] : [label, '']
}

/** A name that is too long keeps its ends, which tell names apart. */
function cut(name: string, to: number): string {
  const characters = [...name]
  if (characters.length <= to) return name
  const head = Math.ceil((to - 1) / 2)
  return `${characters.slice(0, head).join('')}…${characters.slice(characters.length - (to - 1 - head)).join('')}`
}

/** Selection of each method, as if it had been run alone, and the size of target from which it pays at each budget. */
function costTable({ costs, budgets, price, rows }: Summary, columns: number): string {
  if (costs.methods.length === 0) return ''
  const priced = costs.methods.some(({ money }) => money !== undefined)
  const trained = (method: string, of: (training: Summary['rows'][number]['training']) => number) => {
    const own = rows.filter((row) => row.method === method)
    return own.reduce((total, { training }) => total + of(training), 0) / Math.max(1, own.length)
  }
  const head = [
    'selection',
    'time',
    'work',
    'a target: tokens',
    'time',
    ...(priced ? [`money, ${plain(price?.currency ?? '')}`] : []),
  ]
  const lines = costs.methods.map((cost) => [
    cut(plain(cost.method), 28),
    duration(cost.seconds),
    scaled(cost.flops, 'FLOP'),
    scaled(trained(cost.method, ({ tokens }) => tokens)),
    duration(trained(cost.method, ({ seconds }) => seconds)),
    ...(priced ? [cost.money?.toPrecision(3) ?? '–'] : []),
    ...budgets.map((_, i) =>
      paysAbove(
        cost,
        cost.budgets.find(({ budget }) => budget === i),
      ).replaceAll('\u00a0', ' '),
    ),
  ])
  return table([...head, ...budgets.map(({ text }) => `pays at ${plain(text)}`)], lines, columns, 'right')
}
