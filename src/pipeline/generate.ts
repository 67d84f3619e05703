/** `generate`: what a model writes to the prompts of a dataset, as JSON Lines. */

import { readFile } from 'node:fs/promises'
import { type Dataset, openDataset } from '../dataset/dataset.ts'
import { checkOutput } from '../dataset/output.ts'
import { WinnowError } from '../errors.ts'
import { DEFAULT_BATCH } from '../generation/generator.ts'
import { endTokens, referenceTokens, textPrefix } from '../generation/prompts.ts'
import type { Notice } from '../methods/method.ts'
import { isNano } from '../models/nano.ts'
import { isRun } from '../runs/directory.ts'
import { createAtomicFile } from '../runs/files.ts'
import type { FileRecord, Json } from '../runs/hash.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import type { TokenRows } from '../training/rows.ts'
import { type Context, ending, notify, openContext } from './context.ts'
import { isOwnRun } from './earlier-run.ts'
import {
  ANSWER,
  type GeneratedPart,
  type GenerationFacts,
  type GenerationOptions,
  generateParts,
  isContinued,
  promptOf,
  type StoredText,
  type TextEnds,
} from './generate-stage.ts'
import { type ModelOptions, type ResolvedModelOptions, resolveModelOptions, wholeNumber } from './model-options.ts'
import { readPool, tokenisePool } from './pool.ts'
import {
  type PipelineContext,
  type PoolOptions,
  poolName,
  type ResolvedPoolOptions,
  resolvePoolOptions,
} from './pool-options.ts'
import { maybePretrained, type Pretrained, withModel } from './pretrained.ts'

/** `proxy` is the model that writes. */
export interface GenerateTextsOptions extends PoolOptions, ModelOptions, Partial<GenerationOptions> {
  /** JSON Lines. Default `<pool>.generated.jsonl` in the working directory. */
  out?: string
}

interface ResolvedGenerateOptions extends ResolvedPoolOptions, ResolvedModelOptions, GenerationOptions {
  out: string
}

export interface GenerateTextsResult {
  rows: number
  texts: number
  /** Generated. */
  tokens: number
  /** Texts that the window ended, and those that `maxNewTokens` ended. */
  ended: { window: number; length: number }
  out: { path: string; bytes: number; sha256: string }
  run: string
  model: { name: string; revision?: string }
  notices: Notice[]
  device: string
  seconds: number
  stages: { name: string; seconds: number; cached: boolean }[]
}

/** A line of the output. */
export interface GeneratedText {
  /** 0-based over all inputs, and where the record stands. */
  row: number
  file: string
  line: number
  sample: number
  /** As the model reads it, special tokens included. */
  prompt: string
  text: string
  /** Generated tokens. */
  tokens: number
  ended: StoredText['ended']
  /** The record's own answer; absent of a text that was continued. */
  reference?: string
}

/**
 * Lets a pretrained model answer every record of a dataset: the prompt is all that comes before the record's last answer, written as in training; a
 * record of plain text is continued. One line a record and sample, in order. Goes on after the last part that was finished. On cpu the same options give
 * the same bytes, whatever the batch and the threads.
 *
 * @throws {WinnowError} of bad usage, bad input and failures, as data; `signal.reason` when aborted.
 */
export async function generateTexts(
  asked: GenerateTextsOptions,
  pipeline: PipelineContext,
): Promise<GenerateTextsResult> {
  const started = performance.now()
  const { onEvent = () => {}, signal } = pipeline
  const resolved = resolveGenerateOptions(asked)
  const dataset = await openDataset(resolved.pool, resolved)
  // Before anything is downloaded, where it can be known.
  if (!(await isRun(resolved.run))) await checkOut(resolved, dataset)
  await using pretrained = (await maybePretrained(resolved, { onEvent, signal })) as Pretrained
  const { maxLengthAsked, ...options } = withModel(resolved, pretrained)
  await checkOut(options, dataset)
  const config = JSON.parse(JSON.stringify(options)) as Record<string, Json>
  const context = await openContext({ ...options, maxLengthAsked }, config, pipeline)
  await using run = context.run
  try {
    onEvent({ kind: 'plan', stages: ['read', 'tokens', 'generate', 'write'] })
    const pool = await readPool(context, dataset)
    using tokens = await tokenisePool(context, dataset, pool, pretrained)
    const rows = tokens.store
    const { config: modelConfig, generationConfig } = pretrained.files
    const stop = endTokens(pretrained.tokenizer, generationConfig?.eos_token_id, modelConfig.eos_token_id)
    const ends: TextEnds = { prefix: textPrefix(pretrained.tokenizer), stop }
    const { parts, facts } = await generateParts(context, { rows, tokensHash: tokens.hash, pretrained, ends })
    tellOfEnds(context, facts)
    const places = async function* () {
      for await (const { records } of dataset.batches({ signal })) yield* records
    }
    const record = await writeTexts(context, { rows, parts, ends, places, tokenizer: pretrained.tokenizer })
    await run.update({
      status: 'done',
      counts: { rows: rows.count, texts: facts.texts, generated: facts.tokens },
      facts: {
        model: { source: pretrained.files.source, hash: pretrained.hash } as unknown as Json,
        output: { path: options.out, ...record },
      },
    })
    return {
      rows: rows.count,
      texts: facts.texts,
      tokens: facts.tokens,
      ended: { window: facts.window, length: facts.unended },
      out: { path: options.out, bytes: record.size, sha256: record.sha256 },
      model: { name: pretrained.name, revision: pretrained.files.source.revision },
      ...ending(context, started),
    }
  } catch (error) {
    await run.update({ status: 'failed' }).catch(() => undefined)
    throw error
  }
}

/** @throws {WinnowError} `no-model`, `bad-option`, and as `resolvePoolOptions` and `resolveModelOptions`. */
export function resolveGenerateOptions(options: GenerateTextsOptions): ResolvedGenerateOptions {
  if (options.proxy === undefined || isNano(options.proxy))
    throw new WinnowError('usage', {
      code: 'no-model',
      message: 'a model to generate with was not named',
      path: '--model',
      expected: 'a hub id such as HuggingFaceTB/SmolLM2-135M, or a directory in the Hugging Face layout',
      hint: 'For example: winnow generate test.jsonl --model ./tuned.',
    })
  const { temperature = 0, topP = 1 } = options
  const refuse = (path: string, found: number, expected: string) =>
    new WinnowError('usage', {
      ...{ code: 'bad-option', message: `${path} does not say how to sample`, path, found: String(found), expected },
    })
  if (!(Number.isFinite(temperature) && temperature >= 0)) throw refuse('--temperature', temperature, 'a number from 0')
  if (!(topP > 0 && topP <= 1)) throw refuse('--top-p', topP, 'a number above 0, at most 1')
  const samples = wholeNumber(options.samples, 1, '--samples', 1)
  if (samples > 1 && temperature === 0)
    throw new WinnowError('usage', {
      code: 'bad-option',
      message: 'without a temperature all texts of a prompt would be one and the same',
      path: '--samples',
      found: String(samples),
      hint: 'Say --temperature 1, or leave --samples out.',
    })
  const { stem } = poolName(options.pool[0] ?? '')
  return {
    ...resolvePoolOptions(options, {
      run: `${stem}.generated.winnow`,
      command: 'winnow generate',
      example: 'winnow generate test.jsonl --model ./tuned',
    }),
    ...resolveModelOptions(options),
    out: options.out ?? `${stem}.generated.jsonl`,
    maxNewTokens: wholeNumber(options.maxNewTokens, 256, '--max-new-tokens', 1),
    ...{ temperature, topP, samples },
    topK: options.topK === undefined ? undefined : wholeNumber(options.topK, 0, '--top-k', 1),
    batch: wholeNumber(options.batch, DEFAULT_BATCH, '--batch', 1),
  }
}

/** Only JSON Lines are written. A file of that name is replaced only by the run that wrote it, or where asked to. */
async function checkOut(options: Omit<ResolvedGenerateOptions, 'maxLengthAsked'>, { inputs }: Dataset): Promise<void> {
  const { out, overwrite, run } = options
  if (!/\.(jsonl|ndjson)$/i.test(out))
    throw new WinnowError('usage', {
      code: 'unknown-output',
      message: 'texts are written as JSON Lines',
      path: '--out',
      found: out,
      expected: 'a name that ends with .jsonl',
    })
  await checkOutput(out, {
    overwrite: overwrite || (await isOwnRun(run, options, { output: out, file: out })),
    inputs,
  })
}

function tellOfEnds(context: Context, { window, unended, texts }: GenerationFacts): void {
  const share = (count: number) => `${count.toLocaleString('en')} of ${texts.toLocaleString('en')} texts`
  if (window > 0)
    notify(context, {
      code: 'window',
      message: `${share(window)} end where the model's window is full, or their prompt fills it`,
    })
  if (unended > 0)
    notify(context, { code: 'length', message: `${share(unended)} were not at an end after --max-new-tokens` })
}

interface Texts {
  rows: TokenRows
  parts: GeneratedPart[]
  ends: TextEnds
  tokenizer: Tokenizer
  /** Where each row stands, in order. */
  places: () => AsyncIterable<{ file: string; line: number }>
}

/** Writes all texts. Memory: one part. */
async function writeTexts(
  context: Context<ResolvedGenerateOptions>,
  { rows, parts, ends, tokenizer, places }: Texts,
): Promise<FileRecord> {
  const { out } = context.options
  const started = performance.now()
  context.emit({ kind: 'stage-start', stage: 'write', resumedParts: 0 })
  const decode = (ids: ArrayLike<number>) => tokenizer.decode(ids)
  const withoutEnd = (ids: Uint32Array) => (ends.stop.includes(ids[ids.length - 1]) ? ids.subarray(0, -1) : ids)
  await using file = await createAtomicFile(out, { overwrite: true })
  const place = places()[Symbol.asyncIterator]()
  let [at, where] = [-1, { file: '', line: 0 }]
  for (const part of parts) {
    const texts = JSON.parse(await readFile(context.run.path(part.file), 'utf8')) as StoredText[]
    for (const { prompt: row, sample, tokens, ended } of texts) {
      while (at < row) {
        where = (await place.next()).value as { file: string; line: number }
        at++
      }
      const prompt = promptOf(rows, row, ends)
      const line: GeneratedText = {
        ...{ row, file: where.file, line: where.line, sample },
        prompt: decode(prompt),
        text: continuation(decode, prompt, tokens),
        ...{ tokens: tokens.length, ended },
      }
      if (!isContinued(rows, row, ends))
        line.reference = continuation(decode, prompt, withoutEnd(referenceTokens(rows, row, ANSWER)))
      await file.write(`${JSON.stringify(line)}\n`)
    }
    const progress = { fraction: part.to / rows.count, done: part.to, unit: 'rows' as const }
    context.emit({ kind: 'stage-progress', stage: 'write', progress })
  }
  const record = await file.commit()
  const seconds = (performance.now() - started) / 1000
  context.stages.push({ name: 'write', seconds, cached: false })
  const summary = `${record.size.toLocaleString('en')} bytes`
  context.emit({ kind: 'stage-end', stage: 'write', cached: false, seconds, summary })
  return record
}

/** The text of tokens as they stand behind a prompt: some tokenizers write a text's first token otherwise (without its space). */
function continuation(
  decode: (ids: ArrayLike<number>) => string,
  prompt: Uint32Array,
  tokens: ArrayLike<number>,
): string {
  const before = decode(prompt)
  const whole = decode([...prompt, ...Array.from(tokens)])
  return whole.startsWith(before) ? whole.slice(before.length) : decode(tokens)
}
