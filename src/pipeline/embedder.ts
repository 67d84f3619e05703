/** Which embedding a run compares rows in: the pool's own n-grams, an encoder, or the hidden states of the proxy. */

import { readFile } from 'node:fs/promises'
import type { Dataset } from '../dataset/dataset.ts'
import type { Embedder } from '../embedding/embedder.ts'
import type { Encoder, EncoderOptions } from '../embedding/encoder.ts'
import { fitNgrams, ngramEmbedder, readNgramModel } from '../embedding/ngrams.ts'
import type { Checkpoint } from '../methods/checkpoint.ts'
import type { Json } from '../runs/hash.ts'
import { type Context, notify, perform } from './context.ts'
import type { RowEmbedder } from './embeddings.ts'
import type { ResolvedOptions } from './options.ts'
import type { Pool, Tokens } from './pool.ts'
import { fetchProgress, type Pretrained } from './pretrained.ts'
import { openProxyEmbedder } from './proxy-embedder.ts'
import { comparedText } from './target.ts'

/** n-grams are quick; a shard of a model is a minute or two on two cores. */
const NGRAM_SHARD = 65_536
const MODEL_SHARD = 4096

export interface OpenedEmbedder extends RowEmbedder, AsyncDisposable {}

interface EmbedderOf {
  dataset: Dataset
  pool: Pool
  tokens: Tokens
  pretrained?: Pretrained
  /** Where the options name one. */
  encoder?: OpenedEmbedder
  /** Of the proxy, where its hidden states are the embedding. Default: the last. */
  checkpoint?: Checkpoint
}

/** The n-gram model of the pool, the hidden states of the proxy, or the encoder that the options name. */
export async function openEmbedder(
  context: Context<ResolvedOptions>,
  { dataset, pool, tokens, pretrained, encoder, checkpoint }: EmbedderOf,
): Promise<OpenedEmbedder> {
  const { embedding, normaliseLength } = context.options
  if (encoder !== undefined) return encoder
  if (embedding === 'proxy') return openProxyEmbedder(context, tokens, pretrained, checkpoint)
  return ofTexts(await fitPool(context, dataset, pool), NGRAM_SHARD, normaliseLength)
}

/**
 * The encoder that the options name, if they name one: opened before the pool is read, so that what is wrong with it is known at once. Its
 * vectors are kept as they come; whoever reads them scales them to unit length, or not.
 */
export async function maybeEncoder(context: Context<ResolvedOptions>): Promise<OpenedEmbedder | undefined> {
  const { options, emit, signal } = context
  const { embedding, normaliseLength } = options
  if (embedding === undefined || embedding === 'ngrams' || embedding === 'proxy') return undefined
  const started = performance.now()
  emit({ kind: 'stage-start', stage: 'encoder', resumedParts: 0 })
  const encoder = await openEncoderOf(options, {
    normalise: false,
    signal,
    onDownload: fetchProgress((progress) => emit({ kind: 'stage-progress', stage: 'encoder', progress })),
  })
  for (const message of encoder.notices) notify(context, { code: 'encoder', message })
  const seconds = (performance.now() - started) / 1000
  const summary = `${encoder.name}, ${encoder.dimensions} dimensions`
  emit({ kind: 'stage-end', stage: 'encoder', cached: false, seconds, summary })
  return ofTexts(encoder, MODEL_SHARD, normaliseLength)
}

/** The encoder that the options name. Its code is loaded now, not with the package. */
export async function openEncoderOf(
  options: ResolvedOptions,
  more: Pick<EncoderOptions, 'normalise' | 'signal' | 'onDownload'>,
): Promise<Encoder> {
  const { openEncoder } = await import('../embedding/encoder.ts')
  return openEncoder({
    model: options.embedding as string,
    offline: options.offline,
    pooling: options.pooling,
    maxTokens: options.embeddingTokens,
    prefix: options.embeddingPrefix,
    device: options.device,
    threads: options.threads,
    ...more,
  })
}

/** Records embedded by their texts. */
function ofTexts(embedder: Embedder, shardRows: number, normaliseLength: number | undefined): OpenedEmbedder {
  return {
    name: embedder.name,
    dimensions: embedder.dimensions,
    identity: { ...embedder.identity, normaliseLength: normaliseLength ?? null } as Json,
    shardRows,
    embed: (records, options) =>
      embedder.embed(
        records.map(({ turns }) => comparedText(turns, normaliseLength)),
        options,
      ),
    [Symbol.asyncDispose]: () => embedder[Symbol.asyncDispose](),
  }
}

/** Fits the n-gram embedding on the pool alone: any target is embedded by the same model. */
async function fitPool(context: Context<ResolvedOptions>, dataset: Dataset, pool: Pool): Promise<Embedder> {
  const { normaliseLength, embeddingDimensions: dimensions } = context.options
  const { rows } = pool.facts
  const file = 'embedding/ngrams.bin'
  await perform<Json>(context, {
    name: 'ngrams',
    version: 1,
    inputs: { pool: pool.hash },
    options: { normaliseLength: normaliseLength ?? null, dimensions: dimensions ?? null },
    async execute(work, progress) {
      const fitted = fitNgrams({ dimensions })
      let done = 0
      for await (const { records } of dataset.batches({ signal: context.signal })) {
        for (const { turns } of records) fitted.add(comparedText(turns, normaliseLength))
        done += records.length
        progress({ fraction: done / rows, done, unit: 'rows' })
      }
      return { outputs: [await work.write(file, fitted.finish().toBytes())], value: { rows } }
    },
  })
  const path = context.run.path(file)
  return ngramEmbedder(readNgramModel(await readFile(path), path))
}
