/** `winnow generate`: what a model writes to the prompts of a file. */

import { type Command, InvalidArgumentError } from 'commander'
import type { GenerateTextsResult } from '../pipeline/generate.ts'
import { adder, addHub, addMachine, addReading, type CommonFlags, commonOf, endings } from './common-options.ts'
import { bytes, count, counted, duration } from './numbers.ts'
import { shownPath } from './summary.ts'
import { pairs, type Terminal, terminalOf } from './terminal.ts'
import { wholeNumber } from './whole-number.ts'
import { commandLine, finish, work } from './work.ts'

interface GenerateFlags extends Omit<CommonFlags, 'proxy'> {
  model?: string
  out?: string
  maxNewTokens?: number
  temperature?: number
  topP?: number
  topK?: number
  samples?: number
}

const DESCRIPTION = `Lets a language model answer every record of a dataset and writes JSON Lines, a line for each record and sample: row, file, line, sample, prompt, text, tokens, ended (stop, length or window) and reference, the record's own answer. The prompt is all that comes before the record's last answer, written as in training; a record of plain text is continued.

A killed or stopped run goes on where it stopped when the same command is given again.`

const EXAMPLES = `${endings('the texts')}
Examples:
  winnow generate test.jsonl --model ./tuned
  winnow generate prompts.jsonl --model HuggingFaceTB/SmolLM2-135M --temperature 1 --top-p 0.9 --samples 25 --max-new-tokens 20`

const decimal = (text: string) => {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('It takes a number, such as 0.9.')
  return value
}

/** Fills in the command: its description, options and action. */
export function defineGenerate(command: Command): void {
  command.description(DESCRIPTION).argument('[pool...]', 'files and globs').addHelpText('after', EXAMPLES)
  const add = adder(command)
  const what = 'What to generate:'
  add(what, '--model <model>', 'a hub id or a directory in the Hugging Face layout')
  addHub(add, what)
  add(what, '--max-new-tokens <n>', 'of a text, at most (default: 256)', wholeNumber(1))
  add(what, '--temperature <t>', 'draw tokens: logits are divided by it (default: 0, the likeliest token)', decimal)
  add(what, '--top-p <p>', 'draw from the smallest set of tokens with this probability (default: 1)', decimal)
  add(what, '--top-k <n>', 'draw from this many of the likeliest tokens (default: all)', wholeNumber(1))
  add(what, '--samples <n>', 'texts of each prompt, with a temperature (default: 1)', wholeNumber(1))
  add(what, '--seed <n>', 'of every random choice (default: 0)', wholeNumber(0))
  add(what, '--batch <n>', 'texts that are generated together (default: 16)', wholeNumber(1))
  addReading(add, undefined, 'prompt and text together (default: what the longest row needs, as far as positions go)')
  const writing = 'Writing:'
  add(writing, '-o, --out <file>', 'JSON Lines (default: the pool with .generated.jsonl in its name, here)')
  add(
    writing,
    '--run <directory>',
    'parts of unfinished work (default: the pool with .generated.winnow in its name, here)',
  )
  add(writing, '--overwrite', 'replace an output that is there')
  add(writing, '--json', 'one JSON object on standard output')
  add(writing, '--verbose', 'show where an unexpected error came from')
  addMachine(add)
  command.action(async (pool: string[], flags: GenerateFlags) => {
    const { model, out, maxNewTokens, temperature, topP, topK, samples, batch } = flags
    const { epochs, learningRate, microBatch, recompute, lora, ...common } = commonOf({ ...flags, proxy: model })
    const sampling = { maxNewTokens, temperature, topP, topK, samples, batch }
    const asked = { ...common, ...sampling, pool, out, command: commandLine() }
    const { resolveGenerateOptions, generateTexts } = await import('../pipeline/generate.ts')
    // Wrong usage before a device is looked for; whether that has the precision is known afterwards.
    const { proxy } = resolveGenerateOptions({ ...asked, precision: undefined })
    const terminal = terminalOf(process.stderr)
    await work(
      {
        title: `texts of ${proxy} to ${pool.length === 1 ? pool[0] : `${pool.length} inputs`}`,
        device: flags.device ?? 'auto',
        run: async (device, context, progress) => {
          const result = await generateTexts({ ...asked, device }, context)
          finish(result, { progress, terminal, json: flags.json, render })
        },
      },
      terminal,
    )
  })
}

function render(result: GenerateTextsResult, terminal: Terminal): string {
  const { rows, texts, tokens, ended, out, seconds, device } = result
  const stopped = texts - ended.window - ended.length
  const facts: [string, string][] = [
    ['texts', `${terminal.style('bold', shownPath(out.path))} (${bytes(out.bytes)})`],
    [
      'ended',
      `${count(stopped)} by an end token, ${count(ended.length)} by length, ${count(ended.window)} by the window`,
    ],
    ['time', `${duration(seconds)} on ${device}`],
  ]
  const head = `Generated ${count(tokens)} tokens in ${counted(texts, 'text')} to ${counted(rows, 'row')}.`
  return `\n${terminal.style('bold', head)}\n\n${pairs(facts)}\n`
}
