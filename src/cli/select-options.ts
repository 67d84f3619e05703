/** The options of `winnow select`: its own, and each method's, generated from the method's schema. */

import type { Command } from 'commander'
import type { DeviceName } from '../engine/session.ts'
import { WinnowError } from '../errors.ts'
import { parseBudget } from '../methods/budget.ts'
import { describeOptions, parseOptions } from '../methods/options.ts'
import { findMethod, methods } from '../methods/registry.ts'
import { checkImports, checkProxy, parseSignals } from '../pipeline/importable.ts'
import { needsOf, type SelectOptions } from '../pipeline/options.ts'
import { POOLINGS, resolveTargetOptions, type TargetOptions } from '../pipeline/target-options.ts'
import {
  type Add,
  adder,
  addHub,
  addMachine,
  addReading,
  addTraining,
  type CommonFlags,
  commonOf,
} from './common-options.ts'
import { wholeNumber } from './whole-number.ts'

/** What a command asks of the pipeline, the device not yet chosen. */
export interface AskedOptions extends Omit<SelectOptions, 'device'> {
  device?: DeviceName | 'auto'
}

/** What commander makes of the command line; method options lie among the others, as text. */
export interface SelectFlags extends CommonFlags, TargetOptions {
  budget?: string
  method?: string
  out?: string
  signal?: string[]
  dryRun?: boolean
  config?: string
}

/**
 * Adds every option to the command. Defaults are the pipeline's: nothing is filled in here, so that `--config` can be. `ablate` writes several picks
 * into its run, so it has `--vary` in the place of what is about one output.
 */
export function addSelectOptions(command: Command, of: 'select' | 'ablate' = 'select'): void {
  const add = adder(command)
  const what = 'What to select:'
  if (of === 'ablate')
    add(
      what,
      '--vary <option=values>',
      'another pick for each value, such as checkpoints=3,6,12: an option of the method, or seed, draw (the seed of the choice alone), budget, method, proxy, embedding, max-length, first-checkpoints, last-checkpoints (those of the longest recording); may be given several times',
      another,
    )
  add(what, '-b, --budget <amount>', '30% (of the rows), 5000 (rows), 500ktok or 2Mtok (training tokens)')
  add(
    what,
    '-m, --method <name>',
    `${methods.map(({ name }) => name).join(', ')}; see \`winnow methods\` (default: s2l)`,
  )
  add(what, '--seed <n>', 'of every random choice (default: 0)', wholeNumber(0))
  addReading(
    add,
    'for reading and writing Parquet, such as 2GB (default: 512MB), and for the matrix of a transport problem (default: 1GiB)',
  )
  addTarget(add)
  const writing = 'Writing:'
  if (of === 'select') {
    add(writing, '-o, --out <file>', 'selected records (default: the pool with .selected in its name, here)')
    add(writing, '--run <directory>', 'losses, checkpoints, report (default: the pool with .winnow in its name, here)')
  } else {
    const run = 'losses, checkpoints, picks, page (default: the pool with .ablation.winnow in its name, here)'
    add(writing, '--run <directory>', run)
  }
  add(writing, '--overwrite', 'replace an output that is there')
  if (of === 'select') {
    add(writing, '--config <manifest>', 'do what an earlier run did; options given beside it win')
    add(writing, '--dry-run', 'say what would be done and what it costs; write nothing')
  }
  add(writing, '--json', 'one JSON object on standard output')
  add(writing, '--verbose', 'show where an unexpected error came from')
  const proxy = 'The proxy, whose losses tell the rows apart:'
  add(
    proxy,
    '--proxy <model>',
    'nano (trained from scratch on the pool), a hub id or a model directory (default: nano)',
  )
  addHub(add, proxy)
  add(
    proxy,
    '--signal <name=file>',
    'trajectories=<file or directory>: losses recorded elsewhere, in place of training a proxy (.npy, Parquet, CSV, JSON Lines); confidence, initial, unconditional: other scores of it, as the method reads them; embeddings=<file> and target-embeddings=<file>: vectors (.npy, Parquet, JSON Lines)',
    another,
  )
  addTraining(add)
  addMachine(add)
  for (const { flags, description, owners } of methodOptions()) {
    add(`Of the method ${owners.join(' and ')}:`, flags, description)
  }
}

/** Options that may be given several times. */
export const another = (text: string, earlier: unknown): string[] => [
  ...((earlier as string[] | undefined) ?? []),
  text,
]

export function addTarget(add: Add): void {
  const target = 'The target, for methods that pick toward one:'
  add(target, '-t, --target <file>', 'some of what the model is to be good at; may be given several times', another)
  add(target, '--target-fields <map>', 'as --fields, of the target (default: detected)')
  add(target, '--target-template <text>', 'as --template, of the target')
  const embedding = 'The embedding that pool and target are compared in:'
  add(
    embedding,
    '--embedding <model>',
    "ngrams (of the pool's words, no download), proxy (hidden states of --proxy), a hub id or a model directory (default: ngrams)",
  )
  add(embedding, '--pooling <kind>', `of an encoder: ${POOLINGS.join(', ')} (default: auto, the model's own)`).choices(
    POOLINGS,
  )
  add(
    embedding,
    '--embedding-dimensions <n>',
    'of ngrams; more tell texts apart better and take more room (default: 384)',
    wholeNumber(16),
  )
  add(
    embedding,
    '--embedding-tokens <n>',
    'texts are cut to this many tokens (default: what the encoder takes, at most 512)',
    wholeNumber(4),
  )
  add(embedding, '--embedding-prefix <text>', 'put before each text, for encoders that want one')
  add(
    embedding,
    '--normalise-length <n>',
    'texts are cut to this many characters before they are compared',
    wholeNumber(1),
  )
}

interface MethodOption {
  name: string
  flags: string
  description: string
  /** Methods that have it; several may share one. */
  owners: string[]
}

function methodOptions(): MethodOption[] {
  const options = new Map<string, MethodOption>()
  for (const method of methods) {
    for (const { name, flag, description, default: value } of describeOptions(method)) {
      const known = options.get(name)
      if (known) known.owners.push(method.name)
      else
        options.set(name, {
          name,
          flags: flag,
          description: `${description} (default: ${value})`,
          owners: [method.name],
        })
    }
  }
  return [...options.values()]
}

/** What was given on the command line as options of the pipeline. Nothing is checked that the pipeline checks. */
export function optionsOf(pool: string[], flags: SelectFlags): Partial<AskedOptions> {
  const all = flags as Record<string, unknown>
  const { target, targetFields, targetTemplate } = flags
  const { embedding, pooling, embeddingDimensions, embeddingTokens, embeddingPrefix, normaliseLength } = flags
  const given = methodOptions().filter(({ name }) => all[name] !== undefined)
  return {
    ...commonOf(flags),
    pool: pool.length === 0 ? undefined : pool,
    budget: flags.budget,
    method: flags.method,
    methodOptions: Object.fromEntries(given.map(({ name }) => [name, all[name]])),
    out: flags.out,
    ...{ target, targetFields, targetTemplate },
    ...{ embedding, pooling, embeddingDimensions, embeddingTokens, embeddingPrefix, normaliseLength },
    signals: flags.signal && parseSignals(flags.signal),
    device: flags.device,
  }
}

/**
 * The options as the pipeline takes them, or what is wrong with them, before anything is read.
 *
 * @throws {WinnowError} `no-inputs`, `no-budget`, `unknown-method`, `other-methods-option`, `bad-option`, `no-target`,
 * and as `checkImports` and `checkProxy`.
 */
export function checkOptions(options: Partial<AskedOptions>, command: 'select' | 'ablate' = 'select'): AskedOptions {
  const usage = (
    code: string,
    message: string,
    rest: { path?: string; found?: string; expected?: string; hint: string },
  ) => new WinnowError('usage', { code, message, ...rest })
  const { pool = [], budget } = options
  const varied = command === 'ablate' ? ' --vary checkpoints=3,6,12' : ''
  if (pool.length === 0) {
    throw usage('no-inputs', 'no pool was given', {
      expected: 'one or more files',
      hint: `For example: winnow ${command} pool.jsonl --budget 30%${varied}.`,
    })
  }
  if (budget === undefined) {
    throw usage('no-budget', 'how much to select was not said', {
      path: '--budget',
      expected: '30% (of the rows), 5000 (rows) or 2Mtok (training tokens)',
      hint: `For example: winnow ${command} ${pool.join(' ')} --budget 30%${varied}.`,
    })
  }
  const method = findMethod(options.method ?? 's2l')
  const own = describeOptions(method).map(({ name }) => name)
  for (const name of Object.keys(options.methodOptions ?? {})) {
    const option = methodOptions().find((candidate) => candidate.name === name)
    if (own.includes(name) || option === undefined) continue
    throw usage('other-methods-option', `the method ${method.name} has no such option`, {
      path: option.flags.split(' ')[0],
      hint: `It is an option of ${option.owners.join(' and ')}: leave it out, or say --method ${option.owners[0]}.`,
    })
  }
  const parsed = parseOptions(method, options.methodOptions ?? {})
  const { proxy = 'nano', signals } = options
  const needs = needsOf({ method, methodOptions: parsed, budget: parseBudget(budget), proxy })
  if (signals !== undefined) {
    checkImports(signals, method.name, needs)
    checkProxy(signals, proxy)
  }
  resolveTargetOptions(options, method.name, needs)
  return { ...options, pool, budget, method: method.name, methodOptions: parsed }
}
