/** `winnow ablate`: one selection in several ways, and how much the picks have in common. */

import type { Command } from 'commander'
import { WinnowError } from '../errors.ts'
import type { AblateResult } from '../pipeline/ablate.ts'
import type { AblateOptions } from '../pipeline/ablate-options.ts'
import { endings } from './common-options.ts'
import { count, counted, duration, percent } from './numbers.ts'
import { addSelectOptions, checkOptions, optionsOf, type SelectFlags } from './select-options.ts'
import { shownPath } from './summary.ts'
import { pairs, plain, type Terminal, terminalOf, width, wrap } from './terminal.ts'
import { commandLine, finish, work } from './work.ts'

interface AblateFlags extends SelectFlags {
  vary?: string[]
}

const DESCRIPTION = `Selects from a pool with the options given, and again with one of them changed at a time, and shows how many rows the picks have in common beside what random picks would, and how long each selection took.

What the selections share is computed once: shorter trajectories are columns of the longest recording, so the proxy is trained once for each seed and model. Picks, ablation.json and ablation.html go to the run directory. A killed or stopped run goes on where it stopped when the same command is given again.`

const EXAMPLES = `${endings('the page')}
Examples:
  winnow ablate pool.jsonl --budget 10% --vary checkpoints=3,6,12 --vary clusters=25,50,100
  winnow ablate pool.jsonl --budget 10% --vary first-checkpoints=3,6 --vary last-checkpoints=3,6
  winnow ablate pool.jsonl --budget 10% --vary seed=1,2,3 --vary proxy=./tiny-model --vary method=random`

/** Fills in the command: its description, options and action. */
export function defineAblate(command: Command): void {
  command.description(DESCRIPTION).argument('[pool...]', 'files and globs').addHelpText('after', EXAMPLES)
  addSelectOptions(command, 'ablate')
  command.action(async (pool: string[], flags: AblateFlags) => {
    const { resolveAblation } = await import('../pipeline/ablate-options.ts')
    const vary = parseVary(flags.vary ?? [])
    const { device, out: _, ...asked } = checkOptions(optionsOf(pool, flags), 'ablate')
    const options: AblateOptions = { ...asked, vary, command: commandLine() }
    const { variations } = resolveAblation(options)
    const inputs = pool.length === 1 ? pool[0] : `${pool.length} inputs`
    const terminal = terminalOf(process.stderr)
    await work(
      {
        title: `${counted(variations.length, 'pick')} of ${options.budget} of ${inputs}`,
        device: device ?? 'auto',
        run: async (name, context, progress) => {
          const { ablate } = await import('../pipeline/ablate.ts')
          const result = await ablate(
            { ...options, device: name },
            {
              ...context,
              onVariation: (variation, place, all) =>
                progress.print(terminal.style('bold', plain(`pick ${place} of ${all}: ${variation}`))),
            },
          )
          finish(
            { ...result, out: { path: result.report } },
            { progress, terminal, json: flags.json, render: (of) => render(of, terminal) },
          )
        },
      },
      terminal,
    )
  })
}

/**
 * `checkpoints=3,6` and more of that form; one option given twice has the values of both.
 *
 * @throws {WinnowError} `bad-option`.
 */
export function parseVary(given: readonly string[]): Record<string, string[]> {
  const vary: Record<string, string[]> = {}
  for (const text of given) {
    const [, name, values] = /^([a-z][a-z-]*)=(.+)$/s.exec(text) ?? []
    const list = values?.split(',').map((value) => value.trim())
    if (list === undefined || list.includes(''))
      throw new WinnowError('usage', {
        code: 'bad-option',
        message: 'a variation is an option and its values',
        path: '--vary',
        found: text,
        expected: '<option>=<value>,<value>,…, such as checkpoints=3,6,12',
      })
    vary[name] = [...new Set([...(vary[name] ?? []), ...list])]
  }
  return vary
}

/** The end of an ablation, for people: a line for each pick, and every two of them in a matrix. */
export function render(result: AblateResult, terminal: Terminal): string {
  const { picks, overlap } = result
  const names = picks.map(({ name, also }) => plain([name, ...also].join(', ')))
  const first = Math.max(...names.map(width), 'pick'.length)
  const head = ['', 'pick'.padEnd(first), 'rows', 'with base', 'random', 'clusters', 'seconds', 'of them its own']
  const lines = picks.map(({ selected, seconds, stages, agreement }, i) => [
    String(i + 1),
    names[i].padEnd(first),
    count(selected),
    percent(overlap.jaccard[0][i]),
    i === 0 ? '' : percent(overlap.expected[0][i]),
    i === 0 || agreement === undefined ? '' : agreement.toFixed(2),
    seconds.toFixed(1),
    stages.reduce((own, stage) => own + (stage.shared ? 0 : stage.seconds), 0).toFixed(1),
  ])
  const matrix = [
    ['', ...picks.map((_, i) => String(i + 1))],
    ...picks.map((_, i) => [
      String(i + 1),
      ...picks.map((_, j) => (j > i ? '' : overlap.jaccard[i][j].toFixed(2).replace(/^0/, ''))),
    ]),
  ]
  const facts: [string, string][] = [
    ['page', terminal.style('bold', shownPath(result.report))],
    ['numbers', shownPath(result.file)],
    ['picks', shownPath(picks[0].file).replace(/[^/\\]*$/, '')],
    ['time', `${duration(result.seconds)} on ${result.device}`],
  ]
  const why = `with base: Jaccard's index of the two picks; random: of random picks; clusters: adjusted Rand index with the base's (1: the same, 0: chance); seconds: between reading the pool and the pick.`
  const title = `${counted(picks.length, 'pick')} of ${counted(result.rows, 'row')}, and how much of them is the same.`
  return `\n${terminal.style('bold', title)}\n\n${aligned([head, ...lines])}\n${wrap(why, Math.min(100, terminal.columns() - 1)).join('\n')}\n\n${aligned(matrix)}\n${pairs(facts)}\n`
}

/** Columns flush right, each as wide as its widest cell. */
function aligned(lines: readonly (readonly string[])[]): string {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => width(line[column]))))
  return lines
    .map((line) => `  ${line.map((cell, c) => cell.padStart(widths[c])).join('  ')}`.trimEnd())
    .join('\n')
    .concat('\n')
}
