/** `winnow analyse`: what clusters, pick and gradients of a finished selection say. */

import type { Command } from 'commander'
import type { SimilarityTest } from '../analysis/gradient-similarity.ts'
import type { Chance } from '../analysis/topics.ts'
import { WinnowError } from '../errors.ts'
import type { AnalyseOptions, AnalyseResult } from '../pipeline/analyse-options.ts'
import { adder, type CommonFlags, DEVICES, endings } from './common-options.ts'
import { count, counted, duration, percent, scaled } from './numbers.ts'
import { shownPath } from './summary.ts'
import { pairs, type Terminal, terminalOf } from './terminal.ts'
import { wholeNumber } from './whole-number.ts'
import { commandLine, finish, work } from './work.ts'

interface AnalyseFlags extends Pick<CommonFlags, 'device' | 'threads' | 'seed' | 'memoryLimit' | 'json' | 'verbose'> {
  sample?: number
  checkpoints?: string
  permutations?: number
}

const DESCRIPTION = `Analyses a finished selection from its run directory: which sources its clusters gather, what the pick does to their shares, and whether rows of one cluster have more similar gradients than rows of different ones (the claim that S2L rests on), each beside chance. The pool is not read again.

Writes analysis.json and analysis.html into the run directory. A killed or stopped run goes on where it stopped when the same command is given again.`

const EXAMPLES = `${endings('the page')}
Examples:
  winnow analyse pool.winnow
  winnow analyse pool.winnow --checkpoints all --sample 400
  winnow analyse pool.winnow --sample 0 --json`

/** Fills in the command: its description, options and action. */
export function defineAnalyse(command: Command): void {
  command
    .description(DESCRIPTION)
    .argument('[run]', 'the run directory of a finished select')
    .addHelpText('after', EXAMPLES)
  const add = adder(command)
  const gradients = 'Gradients:'
  add(
    gradients,
    '--sample <rows>',
    'rows whose gradients are compared, evenly from the clusters; 0 leaves gradients out (default: 200)',
    wholeNumber(0),
  )
  add(
    gradients,
    '--checkpoints <which>',
    'of the proxy: early, late, all, or numbers from 1, such as early,late or 3,12 (default: late)',
  )
  add(
    gradients,
    '--memory-limit <size>',
    'for the gradients; longer ones are compared as random sketches (default: 1GiB)',
  )
  const chance = 'Chance:'
  add(chance, '--permutations <n>', 'draws that chance is measured with (default: 1000)', wholeNumber(19))
  add(chance, '--seed <n>', "of the sample and of chance (default: the run's)", wholeNumber(0))
  const output = 'Output:'
  add(output, '--json', 'one JSON object on standard output')
  add(output, '--verbose', 'show where an unexpected error came from')
  const machine = 'Computing:'
  add(machine, `--device <${DEVICES.join('|')}>`, 'auto takes a GPU if there is one (default: auto)').choices(DEVICES)
  add(machine, '--threads <n>', 'of the cpu device (default: all cores)', wholeNumber(1))
  command.action(async (directory: string | undefined, flags: AnalyseFlags) => {
    if (directory === undefined)
      throw new WinnowError('usage', {
        code: 'no-run',
        message: 'no run was named',
        expected: 'the run directory of a finished select',
        hint: 'For example: winnow analyse pool.winnow.',
      })
    const { sample, checkpoints, permutations, seed, memoryLimit, threads } = flags
    const asked: AnalyseOptions = {
      ...{ run: directory, sample, checkpoints, permutations, seed, memoryLimit, threads },
      command: commandLine(),
    }
    const [{ analyse }, { resolveAnalyseOptions }, { readFinished }] = await Promise.all([
      import('../pipeline/analyse.ts'),
      import('../pipeline/analyse-options.ts'),
      import('../pipeline/finished-run.ts'),
    ])
    // Wrong usage before a device is looked for.
    resolveAnalyseOptions(asked)
    await readFinished(directory)
    const terminal = terminalOf(process.stderr)
    await work(
      {
        title: `analysis of ${directory}`,
        device: flags.device ?? 'auto',
        run: async (device, context, progress) => {
          const result = await analyse({ ...asked, device }, context)
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

const range = ({ low, high }: Chance, show: (value: number) => string) => `${show(low)} to ${show(high)}`
const cosine = (value: number) => value.toFixed(3)

/** The end of an analysis, for people. */
export function render(result: AnalyseResult, terminal: Terminal): string {
  const { rows, selected, method, clusters, topics, gradients } = result
  const bold = (text: string) => terminal.style('bold', text)
  const facts: [string, string][] = []
  if (clusters)
    facts.push([
      'clusters',
      `${percent(clusters.top1.found)} of rows are of their cluster's commonest topic; random clusters of these sizes ${percent(clusters.top1.expected)} (${range(clusters.top1, percent)})`,
    ])
  if (topics) {
    const { variation, entropy, poolEntropy } = topics
    facts.push(
      [
        'topics',
        `${percent(variation.found)} of the pick would have to change topic to have the pool's shares; random picks ${percent(variation.expected)} (${range(variation, percent)})`,
      ],
      [
        '',
        `entropy ${cosine(entropy.found)} nats, pool ${cosine(poolEntropy)}; random picks ${range(entropy, cosine)}`,
      ],
    )
  }
  if (gradients) {
    const { dimensions, parameters } = gradients
    const sketched = dimensions < parameters ? `, sketched to ${scaled(dimensions)} numbers` : ''
    facts.push([
      'gradients',
      `${counted(gradients.rows, 'row')} of ${counted(gradients.groups, gradients.groupedBy.slice(0, -1))}, ${scaled(parameters)} parameters${sketched}; mean cosines:`,
    ])
    for (const at of gradients.checkpoints) {
      const tests = [
        ['clusters', at.clusters],
        ['clusters, each source by itself', at.clustersWithinSource],
        ['sources', at.sources],
      ] as const
      for (const [name, test] of tests) if (test) facts.push(['', `step ${count(at.step)}, ${name}: ${inWords(test)}`])
      const shares = [
        ['clusters', at.along?.clusters],
        ['sources', at.along?.sources],
      ] as const
      for (const [name, share] of shares)
        if (share)
          facts.push([
            '',
            `step ${count(at.step)}, slopes along the run: ${percent(share.found)} of their variance is between ${name}; by chance ${percent(share.expected)} (${range(share, percent)})`,
          ])
    }
  }
  facts.push(
    ['page', bold(shownPath(result.report))],
    ['numbers', shownPath(result.file)],
    ['time', `${duration(result.seconds)} on ${result.device}`],
  )
  const head = `${count(selected)} of ${counted(rows, 'row')}, picked by ${method}.`
  return `\n${bold(head)}\n\n${pairs(facts)}\n`
}

const inWords = ({ within, across, median, difference, interval, p }: SimilarityTest) =>
  `${cosine(within)} within, ${cosine(across)} across (medians ${cosine(median.within)}, ${cosine(median.across)}); difference ${cosine(difference)} (95 %: ${interval.map(cosine).join(' to ')}, p ${p.toFixed(3)})`
