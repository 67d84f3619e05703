/** Options that several commands share: of reading, of the model, of its training, of the machine. */

import { type Command, InvalidArgumentError, Option } from 'commander'
import type { DeviceName, Precision } from '../engine/session.ts'
import type { ModelOptions, TrainingOptions } from '../pipeline/model-options.ts'
import type { PoolOptions } from '../pipeline/pool-options.ts'
import { wholeNumber } from './whole-number.ts'

export const DEVICES = ['auto', 'cpu', 'webgpu', 'cuda'] as const

/** Flags as commander gives them. */
export interface CommonFlags
  extends Omit<PoolOptions, 'pool' | 'command'>,
    Omit<ModelOptions, 'device'>,
    TrainingOptions {
  device?: DeviceName | 'auto'
  json?: boolean
  verbose?: boolean
}

/** Where output goes and how a command ends, said at the end of its help. `what`: the path that standard output gets. */
export const endings = (what: string): string => `
Standard error gets progress and the summary. Standard output gets data only: with --json one JSON object, for
errors too ({"error": …}); else the path of ${what}, unless it is a terminal.
Exit codes: 0 done, 1 failed, 2 wrong usage or bad input, 130 stopped by Ctrl-C.
`

/** Adds one option under a heading. */
export type Add = (
  heading: string,
  flags: string,
  description: string,
  parse?: (text: string, earlier: unknown) => unknown,
) => Option

export const adder =
  (command: Command): Add =>
  (heading, flags, description, parse) => {
    const option = new Option(flags, description).helpGroup(heading)
    if (parse) option.argParser(parse)
    command.addOption(option)
    return option
  }

/** What a memory limit is for, where nothing else asks for memory. */
const MEMORY = 'for reading and writing Parquet, such as 2GB (default: 512MB)'

/** How much of a row is read. */
const WINDOW = "rows are cut to this many tokens (default: 512, or the model's positions where they are fewer)"

export function addReading(add: Add, memory = MEMORY, window = WINDOW): void {
  const data = 'Reading:'
  add(data, '--fields <map>', 'fields of a record, such as prompt=query,response=reply (default: detected)')
  add(data, '--template <text>', "the record as text, its fields in braces (default: the record's own format)")
  addWindow(add, data, memory, window)
}

/** How much of a row is read, and what becomes of rows that cannot be. */
export function addWindow(add: Add, data: string, memory = MEMORY, window = WINDOW): void {
  add(data, '--max-length <tokens>', window, wholeNumber(8))
  add(data, '--on-bad-row <stop|skip>', 'bad rows are counted and shown either way (default: stop)').choices([
    'stop',
    'skip',
  ])
  add(data, '--memory-limit <size>', memory)
}

/** Where a model of the hub comes from. */
export function addHub(add: Add, heading: string): void {
  add(heading, '--revision <name>', 'branch, tag or commit of a model of the hub (default: main)')
  add(heading, '--offline', 'ask no hub: use what is in the cache')
}

export function addMachine(add: Add): void {
  const machine = 'Computing:'
  add(machine, `--device <${DEVICES.join('|')}>`, 'auto takes a GPU if there is one (default: auto)').choices(DEVICES)
  add(
    machine,
    '--precision <type>',
    'of matrix products: float32, or float16 or bfloat16 where the device has it (default: float32)',
  ).choices(['float32', 'float16', 'bfloat16'] satisfies Precision[])
  add(machine, '--threads <n>', 'of the cpu device and of clustering (default: all cores)', wholeNumber(1))
}

export function addTraining(add: Add): void {
  const training = 'Fine-tuning a pretrained model:'
  add(training, '--epochs <n>', 'passes over the rows (default: 3)', wholeNumber(1))
  add(training, '--learning-rate <rate>', 'peak of a cosine schedule (default: 2e-5, with --lora 2e-4)', rate)
  addPasses(add, training)
}

/** How steps are computed, and of what. */
export function addPasses(add: Add, training: string): void {
  add(training, '--batch <rows>', 'rows of a step (default: a hundredth of all, 8 to 128)', wholeNumber(1))
  add(
    training,
    '--micro-batch <tokens>',
    'tokens of a pass; larger batches are computed in parts (default: what 2 GiB of activations hold)',
    wholeNumber(1),
  )
  add(training, '--recompute', 'keep less for the backward pass, compute it again: less memory, more time')
  add(training, '--lora <rank>', 'train low-rank adapters, not the weights (default: the weights)', wholeNumber(1))
}

export function rate(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !(value > 0 && value < 1))
    throw new InvalidArgumentError('It takes a number between 0 and 1, such as 2e-5.')
  return value
}

/** What was given of the shared options, as the pipeline takes them; the device is not yet chosen. */
export function commonOf(flags: CommonFlags): Omit<CommonFlags, 'device' | 'json' | 'verbose'> {
  const { run, overwrite, seed, fields, template, onBadRow, memoryLimit } = flags
  const { proxy, revision, offline, precision, threads, maxLength } = flags
  const { epochs, learningRate, batch, microBatch, recompute, lora } = flags
  return {
    ...{ run, overwrite, seed, fields, template, onBadRow, memoryLimit },
    ...{ proxy, revision, offline, precision, threads, maxLength },
    ...{ epochs, learningRate, batch, microBatch, recompute, lora },
  }
}
