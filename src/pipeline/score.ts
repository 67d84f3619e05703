/** `score`: how likely a model finds each record of a dataset, as one Parquet file. */

import { type Dataset, openDataset } from '../dataset/dataset.ts'
import { checkOutput } from '../dataset/output.ts'
import { WinnowError } from '../errors.ts'
import type { Notice } from '../methods/method.ts'
import { isNano } from '../models/nano.ts'
import { isRun } from '../runs/directory.ts'
import type { Json } from '../runs/hash.ts'
import { windowLabels } from '../training/trajectories.ts'
import { ending, openContext } from './context.ts'
import { isOwnRun } from './earlier-run.ts'
import { type ModelOptions, type ResolvedModelOptions, resolveModelOptions } from './model-options.ts'
import { readPool, tokenisePool } from './pool.ts'
import {
  type PipelineContext,
  type PoolOptions,
  poolName,
  type ResolvedPoolOptions,
  resolvePoolOptions,
} from './pool-options.ts'
import { maybePretrained, type Pretrained, withModel } from './pretrained.ts'
import { everyToken, scoreParts } from './score-stage.ts'
import { writeScores } from './score-table.ts'

export interface ScoreOptions extends PoolOptions, ModelOptions {
  /** Parquet file. Default `<pool>.scores.parquet` in the working directory. */
  out?: string
  /** Also the NLL of every token. Default false. */
  perToken?: boolean
  /** Score every token of a record, not only its responses. Default false. */
  allTokens?: boolean
}

interface ResolvedScoreOptions extends ResolvedPoolOptions, ResolvedModelOptions {
  out: string
  perToken: boolean
  allTokens: boolean
}

export interface ScoreResult {
  rows: number
  /** Rows without a scored token inside the window: their NLL is null. */
  unscored: number
  /** Tokens inside the window, and those of them that were scored. */
  tokens: { read: number; scored: number }
  /** Mean over all scored tokens, nats. */
  nll: number
  perplexity: number
  out: { path: string; bytes: number; sha256: string }
  run: string
  model: { name: string; revision?: string }
  notices: Notice[]
  device: string
  seconds: number
  stages: { name: string; seconds: number; cached: boolean }[]
}

/**
 * Scores every record of a pool under a pretrained model and writes a Parquet file with a row for each: `row`, `file`, `line`, `tokens` (inside
 * the window), `scored`, `nll` (mean, nats a token), `perplexity` = exp(nll), `cut` (some of it lies beyond the window); with `perToken`
 * also `token_ids` and `token_nll` (null where a token carries no loss). Goes on after the last part that was finished.
 *
 * @throws {WinnowError} of bad usage, bad input and failures, as data; `signal.reason` when aborted.
 */
export async function score(asked: ScoreOptions, pipeline: PipelineContext): Promise<ScoreResult> {
  const started = performance.now()
  const { onEvent = () => {}, signal } = pipeline
  const resolved = resolveScoreOptions(asked)
  const dataset = await openDataset(resolved.pool, resolved)
  // Before anything is downloaded, where it can be known.
  if (!(await isRun(resolved.run))) await checkOut(resolved, dataset)
  await using pretrained = (await maybePretrained(resolved, { onEvent, signal })) as Pretrained
  const { maxLengthAsked: _, ...options } = withModel(resolved, pretrained)
  await checkOut(options, dataset)
  const context = await openContext(
    { ...options, maxLengthAsked: resolved.maxLengthAsked },
    JSON.parse(JSON.stringify(options)) as Record<string, Json>,
    pipeline,
  )
  await using run = context.run
  try {
    onEvent({ kind: 'plan', stages: ['read', 'tokens', 'score', 'write'] })
    const pool = await readPool(context, dataset)
    using tokens = await tokenisePool(context, dataset, pool, pretrained)
    const rows = options.allTokens ? everyToken(tokens.store) : tokens.store
    const labels = windowLabels(rows, options.maxLength)
    const scored = await scoreParts(context, { rows, labels, tokensHash: tokens.hash, pretrained })
    const places = async function* () {
      for await (const { records } of dataset.batches({ signal })) yield* records
    }
    const record = await writeScores(context, { rows, labels, parts: scored.parts, places })
    const count = labels.reduce((total, value) => total + value, 0)
    const read = rows.lengths.reduce((total, length) => total + Math.min(length, options.maxLength), 0)
    const nll = scored.total / count
    await run.update({
      status: 'done',
      counts: { rows: rows.count, scored: count },
      facts: {
        model: { source: pretrained.files.source, hash: pretrained.hash } as unknown as Json,
        nll: count === 0 ? null : nll,
        output: { path: options.out, ...record },
      },
    })
    return {
      rows: rows.count,
      unscored: labels.reduce((total, value) => total + Number(value === 0), 0),
      tokens: { read, scored: count },
      nll,
      perplexity: Math.exp(nll),
      out: { path: options.out, bytes: record.size, sha256: record.sha256 },
      model: { name: pretrained.name, revision: pretrained.files.source.revision },
      ...ending(context, started),
    }
  } catch (error) {
    await run.update({ status: 'failed' }).catch(() => undefined)
    throw error
  }
}

/** @throws {WinnowError} `no-model`, and as `resolvePoolOptions` and `resolveModelOptions`. */
export function resolveScoreOptions(options: ScoreOptions): ResolvedScoreOptions {
  if (options.proxy === undefined || isNano(options.proxy))
    throw new WinnowError('usage', {
      code: 'no-model',
      message: 'a model to score with was not named',
      path: '--proxy',
      expected: 'a hub id such as EleutherAI/pythia-70m-deduped, or a directory in the Hugging Face layout',
      hint: 'For example: winnow score pool.jsonl --proxy EleutherAI/pythia-70m-deduped.',
    })
  const { stem } = poolName(options.pool[0] ?? '')
  return {
    ...resolvePoolOptions(options, {
      run: `${stem}.scores.winnow`,
      command: 'winnow score',
      example: 'winnow score pool.jsonl --proxy EleutherAI/pythia-70m-deduped',
    }),
    ...resolveModelOptions(options),
    out: options.out ?? `${stem}.scores.parquet`,
    perToken: options.perToken ?? false,
    allTokens: options.allTokens ?? false,
  }
}

/** Only Parquet is written. A file of that name is replaced only by the run that wrote it, or where asked to. */
async function checkOut(options: Omit<ResolvedScoreOptions, 'maxLengthAsked'>, { inputs }: Dataset): Promise<void> {
  const { out, overwrite, run } = options
  if (!/\.parquet$/i.test(out))
    throw new WinnowError('usage', {
      code: 'unknown-output',
      message: 'scores are written as Parquet',
      path: '--out',
      found: out,
      expected: 'a name that ends with .parquet',
    })
  await checkOutput(out, {
    overwrite: overwrite || (await isOwnRun(run, options, { output: out, file: out })),
    // Scores are a table of their own whatever is read; a pool is never written over.
    inputs: inputs.filter(({ kind }) => kind === 'parquet'),
  })
}
