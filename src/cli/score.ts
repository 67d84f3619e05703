/** `winnow score`: the likelihood of every record under a model. */

import type { Command } from 'commander'
import type { ScoreResult } from '../pipeline/score.ts'
import { adder, addHub, addMachine, addReading, type CommonFlags, commonOf, endings } from './common-options.ts'
import { bytes, count, counted, duration, nats } from './numbers.ts'
import { shownPath } from './summary.ts'
import { pairs, type Terminal, terminalOf } from './terminal.ts'
import { commandLine, finish, work } from './work.ts'

interface ScoreFlags extends CommonFlags {
  out?: string
  perToken?: boolean
  allTokens?: boolean
}

const DESCRIPTION = `Scores every record of a dataset under a language model: the mean negative log-likelihood of its response tokens (nats) and their perplexity, with --per-token that of every token, as one Parquet file with a row for each record: row, file, line, tokens, scored, nll, perplexity, cut; with --per-token also token_ids and token_nll.

A killed or stopped run goes on where it stopped when the same command is given again.`

const EXAMPLES = `${endings('the scores')}
Examples:
  winnow score pool.jsonl --proxy EleutherAI/pythia-70m-deduped
  winnow score texts.parquet --proxy ./my-model --all-tokens --per-token --out scores.parquet`

/** Fills in the command: its description, options and action. */
export function defineScore(command: Command): void {
  command.description(DESCRIPTION).argument('[pool...]', 'files and globs').addHelpText('after', EXAMPLES)
  const add = adder(command)
  const what = 'What to score:'
  add(what, '--proxy <model>', 'a hub id or a directory in the Hugging Face layout')
  addHub(add, what)
  add(what, '--all-tokens', 'every token of a record, not only its responses')
  add(what, '--per-token', 'also the loss of each token, in lists')
  addReading(add)
  const writing = 'Writing:'
  add(writing, '-o, --out <file>', 'a Parquet file (default: the pool with .scores.parquet in its name, here)')
  add(
    writing,
    '--run <directory>',
    'parts of unfinished work (default: the pool with .scores.winnow in its name, here)',
  )
  add(writing, '--overwrite', 'replace an output that is there')
  add(writing, '--json', 'one JSON object on standard output')
  add(writing, '--verbose', 'show where an unexpected error came from')
  addMachine(add)
  command.action(async (pool: string[], flags: ScoreFlags) => {
    const { out, perToken, allTokens } = flags
    const asked = { ...commonOf(flags), pool, out, perToken, allTokens, command: commandLine() }
    const { resolveScoreOptions, score } = await import('../pipeline/score.ts')
    // Wrong usage before a device is looked for; whether that has the precision is known afterwards.
    const { proxy } = resolveScoreOptions({ ...asked, precision: undefined })
    const terminal = terminalOf(process.stderr)
    await work(
      {
        title: `scores of ${pool.length === 1 ? pool[0] : `${pool.length} inputs`} under ${proxy}`,
        device: flags.device ?? 'auto',
        run: async (device, context, progress) => {
          const result = await score({ ...asked, device }, context)
          finish(result, { progress, terminal, json: flags.json, render })
        },
      },
      terminal,
    )
  })
}

function render(result: ScoreResult, terminal: Terminal): string {
  const { rows, unscored, tokens, nll, perplexity, out, seconds, device } = result
  const facts: [string, string][] = [
    [
      'mean',
      tokens.scored === 0
        ? 'nothing was scored'
        : `${nats(nll)} nats a token, perplexity ${perplexity.toFixed(perplexity < 100 ? 2 : 0)}`,
    ],
    ['scores', `${terminal.style('bold', shownPath(out.path))} (${bytes(out.bytes)})`],
    ['time', `${duration(seconds)} on ${device}`],
  ]
  if (unscored > 0) facts.splice(1, 0, ['unscored', `${counted(unscored, 'row')} without a scored token in the window`])
  const head = `Scored ${count(tokens.scored)} of ${count(tokens.read)} tokens in ${counted(rows, 'row')}.`
  return `\n${terminal.style('bold', head)}\n\n${pairs(facts)}\n`
}
