/** A comparison as Markdown: a read-out to keep beside its data. */

import type { ComparisonMetric } from '../evaluation/comparison.ts'
import type { Summary } from '../evaluation/summary.ts'
import { costSentences, paysAbove, TRAINING_HEADS, type TrainingLine, trainingLines } from './comparison-payback.ts'
import { sentenceCase, withInterval } from './comparison-results.ts'
import {
  cautions,
  decimalsOf,
  findings,
  MARKS,
  onTests,
  type ResultRow,
  reading,
  resultRows,
  spread,
} from './comparison-words.ts'
import { visibleText } from './html.ts'
import { count, counted, duration, scaled } from './numbers.ts'

/**
 * What the page says, without its drawings: findings, cautions, a table of results for each metric and, of the first, for each test,
 * costs, how to read it, how to repeat it. Names are escaped. Ends with a line feed. Deterministic in `summary`.
 */
export function comparisonMarkdown(summary: Summary): string {
  const { metrics, tests, seeds, target, proxy, pool } = summary
  const warned = cautions(summary)
  const parts = [
    `# ${escaped(summary.title)}`,
    bullets(findings(summary)),
    ...(warned.length > 0 ? ['## Beware', bullets(warned)] : []),
    '## Results',
    `${seeds.length > 1 ? 'Mean ± standard deviation over seeds' : 'Score'}, then the difference to random at the same budget with its 95 % interval: ${Object.entries(
      MARKS,
    )
      .map(([verdict, mark]) => `${mark} ${verdict}`)
      .join(', ')}.`,
    ...metrics.flatMap((metric) => [
      `### ${sentenceCase(metric.title)}${metric.unit && ` (${metric.unit})`}${escaped(onTests(summary))}, ${metric.better} is better`,
      results(
        resultRows(summary, metric.name),
        summary.budgets.map(({ text }) => text),
        decimalsOf(summary, metric),
      ),
    ]),
    ...(tests.length > 1 ? testTables(summary, metrics[0]) : []),
    '## What it cost',
    bullets(costSentences(summary)),
    costTable(summary),
    'A target of each row, on average over its seeds:',
    trainingTable(summary),
    '## How to read it',
    bullets(reading(summary)),
    '## What was run',
    `\`\`\`\n${visibleText(summary.command).replaceAll('```', "'''")}\n\`\`\``,
    bullets([
      `Pool: ${counted(pool.rows, 'row')}, ${counted(pool.tokens, 'token')} (${pool.files.join(', ')}).`,
      `Tests: ${tests.map(({ name, rows }) => `${name} (${counted(rows, 'row')})`).join(', ')}.`,
      `Target: ${target.name}, ${scaled(target.parameters)} parameters, ${target.pretrained ? 'pretrained' : 'from random weights'}.`,
      ...(proxy ? [`Proxy: ${proxy.name}, ${scaled(proxy.parameters)} parameters.`] : []),
      `Seeds ${seeds.join(', ')}, on ${summary.device}, finished ${summary.finishedAt}.`,
      `Versions: ${Object.entries(summary.versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(', ')}.`,
    ]),
  ]
  return `${parts.join('\n\n').replaceAll('\u00a0', ' ')}\n`
}

/** Text that means itself in Markdown, on one line. */
function escaped(text: string): string {
  return visibleText(text)
    .replaceAll(/\s*\n\s*/g, ' ')
    .replaceAll(/[\\`*_<>|[\]#]/g, '\\$&')
}

const bullets = (texts: readonly string[]) => texts.map((text) => `- ${escaped(text)}`).join('\n')

/** A table whose first column is text and whose others are figures; cells are Markdown already. */
function grid(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n')
}

function results(rows: readonly ResultRow[], heads: readonly string[], decimals: number): string {
  return grid(
    ['', ...heads.map(escaped)],
    rows.map(({ method, cells }) => [
      escaped(method),
      ...cells.map((cell) => {
        if (!cell) return '–'
        const { score, toRandom } = cell
        if (!toRandom) return spread(score, decimals)
        return `${spread(score, decimals)}<br>${withInterval(toRandom, decimals)} ${MARKS[toRandom.verdict]}`
      }),
    ]),
  )
}

/** Of one metric, methods by tests at each budget. */
function testTables(summary: Summary, metric: ComparisonMetric): string[] {
  const byTest = summary.tests.map(({ name }) => resultRows(summary, metric.name, name))
  return summary.budgets.flatMap(({ text }, budget) => {
    const rows = byTest[0].map((row, i) => ({ ...row, cells: byTest.map((rows) => rows[i].cells[budget]) }))
    return [
      `### ${sentenceCase(metric.title)} at ${escaped(text)} on each test`,
      results(
        rows,
        summary.tests.map(({ name }) => name),
        decimalsOf(summary, metric),
      ),
    ]
  })
}

function trainingTable(summary: Summary): string {
  const names = Object.keys(TRAINING_HEADS) as (keyof TrainingLine)[]
  return grid(
    names.map((name) => TRAINING_HEADS[name]),
    trainingLines(summary).map((line) => names.map((name) => escaped(line[name]))),
  )
}

function costTable({ costs, budgets }: Summary): string {
  return grid(
    [
      'selection',
      'time',
      'FLOPs',
      'as tokens of the target',
      ...budgets.map(({ text }) => `pays above, at ${escaped(text)}`),
    ],
    costs.methods.map((cost) => [
      escaped(cost.method),
      duration(cost.seconds),
      scaled(cost.flops),
      count(cost.tokens),
      ...budgets.map((_, i) =>
        paysAbove(
          cost,
          cost.budgets.find(({ budget }) => budget === i),
        ),
      ),
    ]),
  )
}
