/** What `evaluate` is asked, with its defaults. */

import { WinnowError } from '../errors.ts'
import { TOXICITY_PROTOCOL, type ToxicityScorer } from '../evaluation/toxicity.ts'
import { DEFAULT_BATCH } from '../generation/generator.ts'
import { isNano } from '../models/nano.ts'
import type { GenerationOptions } from '../pipeline/generate-stage.ts'
import {
  type ModelOptions,
  type ResolvedModelOptions,
  resolveModelOptions,
  wholeNumber,
} from '../pipeline/model-options.ts'
import { type PoolOptions, poolName, type ResolvedPoolOptions, resolvePoolOptions } from '../pipeline/pool-options.ts'
import type { Json } from '../runs/hash.ts'
import { type EvaluationMetric, SCORES_OF } from './metrics.ts'
import { parseTestSets, type TestSet } from './test-sets.ts'

export interface EvaluateOptions extends Omit<PoolOptions, 'pool'>, Omit<ModelOptions, 'proxy'> {
  /** A hub id or a directory in the Hugging Face layout. */
  model: string
  /** Test sets: files, `name=file` or `group:name=file`. */
  test: string[]
  /** Default `nll`, with `programs` `exact-match`. */
  metrics?: EvaluationMetric[]
  /** Ask for a program first and run it, as MAmmoTH does. Default false. */
  programs?: boolean
  /** Of a program, by the clock. Default 5. */
  programSeconds?: number
  /** Of an answer. Default 256, with `programs` 1,024. */
  maxNewTokens?: number
  /** Share of a truth that is no whole number by which an exact match may miss it; of all sets, or by name. Default 0. */
  tolerance?: number | Record<string, number>
  /** The first rows of each test set, in place of all. */
  testRows?: number
  /** Texts that are generated together. Default 16. */
  batch?: number
  /** Hub id or directory of the encoder of BERTScore. */
  bertEncoder?: string
  /** A file with a text and its toxicity a row. */
  toxicityScores?: string
  /** Hub id or directory of a classifier of toxic texts. */
  toxicityClassifier?: string
  /** Its label that means toxic. Default `toxic` or `toxicity`. */
  toxicityLabel?: string
  /** In place of either. */
  toxicityScorer?: ToxicityScorer
  /** Texts of each prompt whose toxicity is scored. Default 25. */
  toxicitySamples?: number
  /** The answers of another evaluation (.jsonl), or a model that is evaluated too. */
  against?: string
  /** JSON Lines. Default `<first set>.answers.jsonl` in the working directory. */
  out?: string
}

export interface ResolvedEvaluateOptions
  extends ResolvedPoolOptions,
    ResolvedModelOptions,
    Pick<GenerationOptions, 'maxNewTokens' | 'batch'> {
  tests: (TestSet & { tolerance: number })[]
  metrics: EvaluationMetric[]
  programs: boolean
  programSeconds: number
  testRows?: number
  bertEncoder?: string
  toxicityScores?: string
  toxicityClassifier?: string
  toxicityLabel?: string
  toxicitySamples: number
  against?: string
  out: string
}

export const EVALUATION_METRICS = Object.keys(SCORES_OF) as EvaluationMetric[]

const usage = (
  code: string,
  message: string,
  rest: { path?: string; found?: string; expected?: string; hint?: string },
): WinnowError => new WinnowError('usage', { code, message, ...rest })

/**
 * Fills in defaults and checks what can be checked without touching a file.
 *
 * @throws {WinnowError} `no-model`, `no-test`, `repeated-test`, `no-encoder`, `two-scorers`, `bad-option`, and as `resolvePoolOptions` and
 * `resolveModelOptions`.
 */
export function resolveEvaluateOptions(options: EvaluateOptions): ResolvedEvaluateOptions {
  const { model, programs = false, bertEncoder, toxicityScores, toxicityClassifier, toxicityLabel } = options
  if (model === undefined || isNano(model))
    throw usage('no-model', 'a model to evaluate was not named', {
      path: '--model',
      expected: 'a hub id such as HuggingFaceTB/SmolLM2-135M, or a directory in the Hugging Face layout',
      hint: 'For example: winnow evaluate test.jsonl --model ./tuned.',
    })
  const sets = parseTestSets(options.test, 'a file of prompts and responses')
  const metrics = [...new Set(options.metrics ?? [programs ? 'exact-match' : 'nll'])] as EvaluationMetric[]
  for (const name of metrics)
    if (!EVALUATION_METRICS.includes(name))
      throw usage('bad-option', 'there is no such metric', {
        path: '--metrics',
        found: name,
        expected: EVALUATION_METRICS.join(', '),
      })
  if (metrics.includes('bert-score') && bertEncoder === undefined)
    throw usage('no-encoder', 'BERTScore is told by an encoder, and none was named', {
      path: '--bert-encoder',
      expected: 'a hub id or a directory with an ONNX graph (docs/embeddings.md)',
      hint: 'Scores of different encoders cannot be compared.',
    })
  const scorers = { toxicityScores, toxicityClassifier, toxicityScorer: options.toxicityScorer }
  const given = Object.entries(scorers).flatMap(([name, value]) => (value === undefined ? [] : [flagOf(name)]))
  if (given.length > 1)
    throw usage('two-scorers', 'toxicity is told by one scorer', {
      path: given[1],
      found: given.join(' and '),
      expected: 'one of them',
    })
  const files = sets.map(({ file }) => file)
  const { stem } = poolName(files[0])
  const { pool: _, ...reading } = resolvePoolOptions(
    { ...options, pool: files },
    {
      run: `${stem}.evaluated.winnow`,
      command: 'winnow evaluate',
      example: 'winnow evaluate test.jsonl --model ./tuned',
    },
  )
  return {
    ...reading,
    pool: files,
    ...resolveModelOptions({ ...options, proxy: model }),
    tests: sets.map((set) => ({ ...set, tolerance: toleranceOf(options.tolerance, set.name) })),
    metrics,
    programs,
    programSeconds: wholeNumber(options.programSeconds, 5, '--program-seconds', 1),
    ...{ bertEncoder, toxicityScores, toxicityClassifier, toxicityLabel },
    maxNewTokens: wholeNumber(options.maxNewTokens, programs ? 1024 : 256, '--max-new-tokens', 1),
    batch: wholeNumber(options.batch, DEFAULT_BATCH, '--batch', 1),
    testRows: options.testRows === undefined ? undefined : wholeNumber(options.testRows, 1, '--test-rows', 1),
    toxicitySamples: wholeNumber(options.toxicitySamples, TOXICITY_PROTOCOL.generations, '--toxicity-samples', 1),
    against: options.against,
    out: options.out ?? `${stem}.answers.jsonl`,
  }

  function toleranceOf(tolerance: EvaluateOptions['tolerance'] = 0, name: string): number {
    const bad = (found: string, expected: string) =>
      usage('bad-option', 'the tolerance is not understood', { path: '--tolerance', found, expected })
    if (typeof tolerance === 'object')
      for (const key of Object.keys(tolerance))
        if (!sets.some((set) => set.name === key))
          throw bad(key, `the name of a test set: ${sets.map((set) => set.name).join(', ')}`)
    const share = typeof tolerance === 'object' ? (tolerance[name] ?? 0) : tolerance
    if (!(share >= 0 && share < 1)) throw bad(String(share), 'a share from 0, below 1, such as 0.04')
    return share
  }
}

const flagOf = (name: string) => `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`

/** Whether `--against` names answers, and not a model. */
export const isAnswersFile = (against: string): boolean => /\.(jsonl|ndjson)$/i.test(against)

/** The options as a manifest keeps them: those that what is written depends on. */
export const evaluateConfig = ({
  against: _,
  ...options
}: Omit<ResolvedEvaluateOptions, 'maxLengthAsked'>): Record<string, Json> =>
  JSON.parse(JSON.stringify(options)) as Record<string, Json>
