/** `winnow evaluate`: one model on one or several test sets. */

import { type Command, InvalidArgumentError } from 'commander'
import type { EvaluateResult } from '../answers/evaluate.ts'
import type { EvaluationMetric } from '../answers/metrics.ts'
import type { EvaluateOptions } from '../answers/options.ts'
import { adder, addHub, addMachine, addReading, type CommonFlags, commonOf, endings } from './common-options.ts'
import { renderEvaluation } from './evaluation-table.ts'
import { another } from './select-options.ts'
import { terminalOf } from './terminal.ts'
import { wholeNumber } from './whole-number.ts'
import { commandLine, finish, work } from './work.ts'

interface EvaluateFlags extends Omit<CommonFlags, 'proxy'> {
  model?: string
  test?: string[]
  metrics?: string
  programs?: boolean
  programSeconds?: number
  maxNewTokens?: number
  tolerance?: number | Record<string, number>
  testRows?: number
  bertEncoder?: string
  toxicityScores?: string
  toxicityClassifier?: string
  toxicityLabel?: string
  toxicitySamples?: number
  against?: string
  out?: string
}

const DESCRIPTION = `Measures a language model on test sets: the loss of their responses, and what its greedy answers score. Writes JSON Lines, a line for each row: test, row, file, line, answer, tokens, ended, reference, extracted, truth, right, program and the row's scores. With --against the differences to another model on the same rows come with a paired bootstrap interval.

A killed or stopped run goes on where it stopped when the same command is given again.`

const EXAMPLES = `${endings('the answers')}
Examples:
  winnow evaluate test.jsonl --model ./tuned
  winnow evaluate --test in:gsm8k=gsm8k.jsonl --test in:math=math.jsonl --test out:svamp=svamp.jsonl --model ./tuned --metrics exact-match --programs --tolerance math=0.04
  winnow evaluate notes.csv --model ./tuned --metrics rouge-l,bleu,bert-score --bert-encoder Xenova/all-MiniLM-L6-v2
  winnow evaluate test.jsonl --model ./tuned --metrics exact-match --against base.answers.jsonl`

/** `0.04`, of all sets, or `math=0.04`, of one. */
function tolerance(text: string, earlier: unknown): number | Record<string, number> {
  const [, name, share] = /^(?:([\w.-]+)=)?(.+)$/.exec(text) ?? []
  const value = Number(share)
  if (share === undefined || share.trim() === '' || !Number.isFinite(value))
    throw new InvalidArgumentError('It takes a share such as 0.04, or name=0.04.')
  if (name === undefined) return value
  return { ...(typeof earlier === 'object' ? (earlier as Record<string, number>) : {}), [name]: value }
}

/** Fills in the command: its description, options and action. */
export function defineEvaluate(command: Command): void {
  command
    .description(DESCRIPTION)
    .argument('[test...]', 'test sets: files, name=file, or group:name=file')
    .addHelpText('after', EXAMPLES)
  const add = adder(command)
  const what = 'What to evaluate:'
  add(what, '--model <model>', 'a hub id or a directory in the Hugging Face layout')
  addHub(add, what)
  add(
    what,
    '--against <answers or model>',
    'the answers of another evaluation (.jsonl), or a model that is evaluated too: differences on the same rows',
  )
  add(what, '--seed <n>', 'of what is drawn: resamples, texts for toxicity (default: 0)', wholeNumber(0))
  const tests = 'What it is measured on:'
  add(
    tests,
    '--test <file>',
    'a test set: a file, name=file, or group:name=file, whose groups are averaged; may be given several times',
    another,
  )
  add(tests, '--test-rows <n>', 'the first rows of each test set (default: all)', wholeNumber(1))
  add(
    tests,
    '--metrics <list>',
    'nll (loss of the responses, perplexity); of greedy answers: exact-match, rouge-l, bleu, bert-score, of labels accuracy, f1, mcc; of drawn texts: toxicity (default: nll, with --programs exact-match)',
  )
  add(tests, '--max-new-tokens <n>', 'of an answer (default: 256, with --programs 1024)', wholeNumber(1))
  add(tests, '--programs', 'ask for a program first and run it in a sandbox, as MAmmoTH does')
  add(tests, '--program-seconds <n>', 'of a program, by the clock (default: 5)', wholeNumber(1))
  add(
    tests,
    '--tolerance <share>',
    'by which an exact match may miss a truth that is no whole number, or name=share of one set, such as math=0.04 (default: 0)',
    tolerance,
  )
  add(tests, '--batch <n>', 'texts that are generated together (default: 16)', wholeNumber(1))
  add(tests, '--bert-encoder <model>', 'of bert-score: a hub id or a directory with an ONNX graph')
  const toxicity = 'Toxicity, of texts that are drawn with p = 0.9 from each prompt, 20 tokens each:'
  add(toxicity, '--toxicity-classifier <model>', 'a hub id or a directory with an ONNX graph of labels')
  add(toxicity, '--toxicity-label <label>', 'its label that means toxic (default: toxic or toxicity)')
  add(
    toxicity,
    '--toxicity-scores <file>',
    'a file with the fields text and score, a number from 0 to 1; without any of these the texts are written, to be scored elsewhere',
  )
  add(toxicity, '--toxicity-samples <n>', 'texts of each prompt (default: 25)', wholeNumber(1))
  addReading(
    add,
    undefined,
    'rows are cut to this many tokens for their loss; prompt and answer together (default: 512 for the loss, for answers what the longest row needs)',
  )
  const writing = 'Writing:'
  add(writing, '-o, --out <file>', 'JSON Lines (default: the first test set with .answers.jsonl in its name, here)')
  add(
    writing,
    '--run <directory>',
    'parts of unfinished work (default: the first test set with .evaluated.winnow in its name, here)',
  )
  add(writing, '--overwrite', 'replace an output that is there')
  add(writing, '--json', 'one JSON object on standard output')
  add(writing, '--verbose', 'show where an unexpected error came from')
  addMachine(add)
  command.action(async (sets: string[], flags: EvaluateFlags) => {
    const asked = optionsOf(sets, flags)
    const { resolveEvaluateOptions } = await import('../answers/options.ts')
    // Wrong usage before a device is looked for; whether that has the precision is known afterwards.
    const { proxy, tests: named } = resolveEvaluateOptions({ ...asked, precision: undefined })
    const { evaluate } = await import('../answers/evaluate.ts')
    const terminal = terminalOf(process.stderr)
    await work(
      {
        title: `${proxy} on ${named.map(({ name }) => name).join(', ')}`,
        device: flags.device ?? 'auto',
        run: async (device, context, progress) => {
          const result: EvaluateResult = await evaluate({ ...asked, device }, context)
          finish(result, { progress, terminal, json: flags.json, render: renderEvaluation })
        },
      },
      terminal,
    )
  })
}

function optionsOf(sets: string[], flags: EvaluateFlags): EvaluateOptions {
  const { model, test = [], metrics, programs, programSeconds, maxNewTokens, tolerance: share, testRows, batch } = flags
  const { bertEncoder, toxicityScores, toxicityClassifier, toxicityLabel, toxicitySamples, against, out } = flags
  const { epochs, learningRate, microBatch, recompute, lora, proxy: _, ...common } = commonOf(flags)
  return {
    ...common,
    ...{
      model: model as string,
      test: [...sets, ...test],
      programs,
      programSeconds,
      maxNewTokens,
      tolerance: share,
      testRows,
      batch,
    },
    ...{ bertEncoder, toxicityScores, toxicityClassifier, toxicityLabel, toxicitySamples, against, out },
    metrics: metrics?.split(',').map((name) => name.trim() as EvaluationMetric),
    command: commandLine(),
  }
}
