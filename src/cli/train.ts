/** `winnow train`: fine-tunes a model on a file. */

import type { Command } from 'commander'
import type { SavedFormat } from '../models/float-formats.ts'
import type { TrainResult } from '../pipeline/train.ts'
import {
  adder,
  addHub,
  addMachine,
  addReading,
  addTraining,
  type CommonFlags,
  commonOf,
  endings,
} from './common-options.ts'
import { bytes, count, counted, duration, nats, scaled } from './numbers.ts'
import { shownPath } from './summary.ts'
import { pairs, type Terminal, terminalOf } from './terminal.ts'
import { wholeNumber } from './whole-number.ts'
import { commandLine, finish, work } from './work.ts'

interface TrainFlags extends Omit<CommonFlags, 'proxy'> {
  model?: string
  out?: string
  checkpoints?: number
  saveAs?: keyof typeof FORMATS
}

const FORMATS = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' } as const satisfies Record<string, SavedFormat>

const DESCRIPTION = `Fine-tunes a language model on the records of a file, selected or not, and saves it in the Hugging Face layout: transformers and winnow load it. Only responses carry loss.

A killed or stopped run goes on from its last checkpoint, to the same model, when the same command is given again.`

const EXAMPLES = `${endings('the tuned model')}
Examples:
  winnow train pool.selected.jsonl --model HuggingFaceTB/SmolLM2-135M --out tuned
  winnow train pool.jsonl --model ./my-model --epochs 1 --lora 16`

/** Fills in the command: its description, options and action. */
export function defineTrain(command: Command): void {
  command.description(DESCRIPTION).argument('[records...]', 'files and globs').addHelpText('after', EXAMPLES)
  const add = adder(command)
  const what = 'What to train:'
  add(what, '--model <model>', 'a hub id, a directory in the Hugging Face layout, or nano (from scratch)')
  addHub(add, what)
  add(what, '--seed <n>', 'of every random choice (default: 0)', wholeNumber(0))
  addTraining(add)
  addReading(add)
  const writing = 'Writing:'
  add(writing, '-o, --out <directory>', 'the tuned model (default: the file with .model in its name, here)')
  add(writing, '--save-as <type>', 'of the saved weights: float32, float16 or bfloat16 (default: float32)').choices(
    Object.keys(FORMATS),
  )
  add(writing, '--checkpoints <n>', 'states kept along the way (default: 10)', wholeNumber(1))
  add(writing, '--run <directory>', 'checkpoints, losses (default: the file with .train.winnow in its name, here)')
  add(writing, '--overwrite', 'replace a model that is there')
  add(writing, '--json', 'one JSON object on standard output')
  add(writing, '--verbose', 'show where an unexpected error came from')
  addMachine(add)
  command.action(async (pool: string[], flags: TrainFlags) => {
    const { model, out, checkpoints, saveAs } = flags
    const common = commonOf({ ...flags, proxy: model })
    const asked = { ...common, pool, out, checkpoints, saveAs: saveAs && FORMATS[saveAs], command: commandLine() }
    const { resolveTrainOptions, train } = await import('../pipeline/train.ts')
    // Wrong usage before a device is looked for; whether that has the precision is known afterwards.
    const { proxy } = resolveTrainOptions({ ...asked, precision: undefined })
    const terminal = terminalOf(process.stderr)
    await work(
      {
        title: `training of ${proxy} on ${pool.length === 1 ? pool[0] : `${pool.length} inputs`}`,
        device: flags.device ?? 'auto',
        run: async (device, context, progress) => {
          const result = await train({ ...asked, device }, context)
          finish(result, { progress, terminal, json: flags.json, render })
        },
      },
      terminal,
    )
  })
}

function render(result: TrainResult, terminal: Terminal): string {
  const { rows, trainedRows, tokens, steps, epochs, loss, out, adapters, curve, model, seconds, device } = result
  const head = `Trained ${scaled(model.trained)} parameters on ${counted(trainedRows, 'row')}, ${counted(epochs, 'epoch')}, ${counted(steps, 'step')}.`
  const facts: [string, string][] = [
    ['model', `${terminal.style('bold', shownPath(out.path))} (${bytes(out.bytes)})`],
    ['loss', `${nats(loss.first)} → ${nats(loss.last)} nats a token (first and last tenth of the steps, as trained)`],
    ['curve', shownPath(curve)],
    ['tokens', `${count(tokens.processed)} processed`],
    ['time', `${duration(seconds)} on ${device}`],
  ]
  if (adapters) facts.splice(1, 0, ['adapters', shownPath(adapters)])
  if (trainedRows < rows)
    facts.push(['left out', `${counted(rows - trainedRows, 'row')} without a trained token in the window`])
  return `\n${terminal.style('bold', head)}\n\n${pairs(facts)}\n`
}
