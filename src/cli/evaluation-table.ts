/** What `evaluate` says at its end: a table of scores, a set a row, and what the difference to another model is. */

import type { Difference } from '../answers/against.ts'
import type { EvaluateResult } from '../answers/evaluate.ts'
import { SCORE_FACTS, type ScoreName } from '../answers/metrics.ts'
import { count, counted, duration } from './numbers.ts'
import { shownPath } from './summary.ts'
import { pairs, plain, type Terminal, width, wrap } from './terminal.ts'

/** The widest line, whatever the terminal. */
const COLUMNS = 100

export function renderEvaluation(result: EvaluateResult, terminal: Terminal): string {
  const { tests, averages, scores, model, out, seconds, device, against, encoder, toxicityBy } = result
  const bold = (text: string) => terminal.style('bold', text)
  const columns = Math.min(COLUMNS, Math.max(40, terminal.columns() - 1))
  const rows = [
    ...tests.map(({ name, group, rows: size, scores: own }) => [
      `${plain(name)}${group === undefined ? '' : ` (${plain(group)})`}`,
      count(size),
      ...scores.map((score) => shown(score, own[score])),
    ]),
    ...averages.map(({ name, tests: { length }, scores: own }) => [
      `average of ${plain(name)}`,
      counted(length, 'set'),
      ...scores.map((score) => shown(score, own[score])),
    ]),
  ]
  const facts: [string, string][] = [['answers', `${bold(shownPath(out.path))}`]]
  if (result.generations !== undefined) facts.push(['drawn texts', shownPath(result.generations)])
  if (encoder !== undefined) facts.push(['BERTScore by', plain(encoder)])
  if (toxicityBy !== undefined) facts.push(['toxicity by', plain(toxicityBy)])
  for (const { name, answers } of tests) {
    if (answers?.programs) facts.push([`programs, ${plain(name)}`, programs(answers.programs)])
  }
  facts.push(['time', `${duration(seconds)} on ${device}`])
  const head = ['test', 'rows', ...scores.map(heading)]
  return [
    `\n${bold(plain(model.name))}\n\n`,
    table(head, rows, columns),
    ...(against ? ['\n', difference(against, terminal, columns)] : []),
    `\n${pairs(facts)}`,
  ].join('')
}

const heading = (score: ScoreName) => {
  const { title, unit } = SCORE_FACTS[score]
  return unit === '%' ? `${title} %` : title
}

function shown(score: ScoreName, value: number | null | undefined): string {
  if (value == null) return '-'
  const { unit } = SCORE_FACTS[score]
  if (unit === '%') return value.toFixed(1)
  return score === 'perplexity' ? value.toFixed(value < 100 ? 2 : 0) : value.toFixed(3)
}

const programs = ({ ran, timeout, memory, error, forbidden }: Record<string, number>) =>
  `${count(ran)} run, ${count(error)} ended by an error, ${count(timeout)} by time, ${count(memory)} by memory, ${count(forbidden)} by a wall`

/** Rows under a head, as many columns at once as fit: the first stands in front of each part. */
function table(head: string[], rows: string[][], columns: number): string {
  const widths = head.map((text, i) => Math.max(width(text), ...rows.map((row) => width(row[i]))))
  const parts: number[][] = []
  let left = 0
  for (let i = 1; i < head.length; i++) {
    if (parts.length === 0 || left < widths[i] + 2) {
      parts.push([])
      left = columns - widths[0] - 4
    }
    parts[parts.length - 1].push(i)
    left -= widths[i] + 2
  }
  const line = (row: string[], part: number[]) => {
    const cells = part.map((i) => `  ${' '.repeat(widths[i] - width(row[i]))}${row[i]}`)
    return `${`  ${row[0]}${' '.repeat(widths[0] - width(row[0]))}${cells.join('')}`.trimEnd()}\n`
  }
  return parts.map((part) => [head, ...rows].map((row) => line(row, part)).join('')).join('\n')
}

function difference(
  { name, differences }: NonNullable<EvaluateResult['against']>,
  terminal: Terminal,
  columns: number,
): string {
  const several = new Set(differences.map(({ test }) => test)).size > 1
  const rows = differences.map((one) => [
    `${heading(one.score)}${several ? `, ${one.test === null ? 'average' : plain(one.test)}` : ''}`,
    number(one, one.own),
    number(one, one.other),
    `${signed(one, one.mean)} [${signed(one, one.low)}, ${signed(one, one.high)}]`,
    one.better === null ? 'not told apart' : one.better === 'own' ? 'better' : 'worse',
  ])
  const caution =
    'Paired bootstrap over test rows, 95 % intervals. It says how sure these rows make the difference, not what another training seed would have given.'
  return [
    `${terminal.style('bold', `Against ${plain(name)} on the same rows`)}\n\n`,
    table(['score', 'this', 'other', 'difference', ''], rows, columns),
    `\n${wrap(caution, columns - 2)
      .map((text) => `${text}\n`)
      .join('')}`,
  ].join('')
}

const number = ({ score }: Difference, value: number) => shown(score, value)
const signed = (one: Difference, value: number) => `${value < 0 ? '' : '+'}${number(one, value)}`
