/** The proxy's hidden states as the embedding of a run: of a pretrained model as it is, or of nano after it was trained on the pool. */

import { type HiddenStates, openHiddenStates } from '../embedding/hidden-states.ts'
import { type Checkpoint, checkpointColumn } from '../methods/checkpoint.ts'
import type { LanguageModel } from '../models/model.ts'
import type { Json } from '../runs/hash.ts'
import type { TokenRows } from '../training/rows.ts'
import { noCheckpoints, noHiddenStates, readTensors } from './checkpoints.ts'
import type { Context } from './context.ts'
import type { OpenedEmbedder } from './embedder.ts'
import type { ResolvedOptions } from './options.ts'
import { recordEncoder, type Tokens } from './pool.ts'
import type { Pretrained } from './pretrained.ts'
import { proxyFor } from './proxy.ts'
import { embeddedCheckpoints, narrowed, recordedCheckpoints } from './recording.ts'
import { recordPool } from './trajectories.ts'

/** Rows of a shard: a minute or two of a small model on two cores. */
const SHARD_ROWS = 4096

/**
 * Opens the model; nano is trained first, by the stage that records S2L's trajectories, of which one checkpoint is read, the last unless
 * another is asked for. A record is
 * embedded as training would read it: by the model's own tokenizer and chat template, cut to the longest length.
 */
export async function openProxyEmbedder(
  context: Context<ResolvedOptions>,
  tokens: Tokens,
  pretrained: Pretrained | undefined,
  asked: Checkpoint = 'late',
): Promise<OpenedEmbedder> {
  const { options, device, run } = context
  // One name for the last: vectors are computed once, whichever way a method asks for it.
  const checkpoint = asked === 'auto' ? 'late' : asked
  const { tokenizer } = tokens
  if (pretrained && checkpoint !== 'late') throw noCheckpoints(options.proxy, checkpoint)
  const { model, identity } = pretrained
    ? { model: pretrained.model, identity: pretrained.hash }
    : await trainedNano(context, tokens, checkpoint)
  // Weights are read when the first shard is embedded: of a finished stage they are not needed.
  let opened: HiddenStates | undefined
  const open = async (): Promise<HiddenStates> => {
    const weights = pretrained
      ? await pretrained.weights()
      : await readTensors(run.path((identity as { file: string }).file))
    return openHiddenStates({ model, weights, device, maxLength: options.maxLength, normalise: false })
  }
  const encode = recordEncoder(tokenizer, 'skip')
  return {
    name: `hidden states of ${options.proxy}`,
    dimensions: model.hiddenSize,
    identity: {
      proxy: typeof identity === 'string' ? identity : identity.hash,
      ...(checkpoint !== 'late' && { checkpoint }),
      ...{ pooling: 'weighted-mean', maxLength: options.maxLength, device: device.name, precision: options.precision },
      onnxruntime: run.manifest.versions['onnxruntime-node'] ?? '',
    } as Json,
    shardRows: SHARD_ROWS,
    async embed(records, { signal, onProgress }) {
      opened ??= await open()
      const rows = tokenRows(records.map((record) => encode.tokens(record)))
      return opened.embed(rows, Uint32Array.from(records.keys()), { signal, onProgress })
    },
    [Symbol.asyncDispose]: async () => opened?.[Symbol.asyncDispose](),
  }
}

/** nano as it stands at a checkpoint of its training on the pool. */
async function trainedNano(context: Context<ResolvedOptions>, tokens: Tokens, checkpoint: Checkpoint) {
  const { store, tokenizer } = tokens
  const { recording } = context.options
  const wanted = embeddedCheckpoints(checkpoint)
  const recorded = await recordPool(context, tokens, recordedCheckpoints(wanted, recording))
  // A longer recording has the same last checkpoint, and others that do not count.
  const { hash, models } = wanted === 1 ? recorded : narrowed(recorded, wanted, recording)
  if (typeof checkpoint === 'number' && checkpoint > models.length) throw noHiddenStates(checkpoint, models.length)
  const file = models[checkpointColumn(checkpoint, models.length)]
  const { model } = proxyFor({ rows: store, vocabularySize: tokenizer.vocabularySize, options: context.options })
  return { model: model as LanguageModel, identity: { hash, file } }
}

function tokenRows(rows: Uint32Array[]): TokenRows {
  const lengths = Uint32Array.from(rows, (row) => row.length)
  return { count: rows.length, lengths, labels: lengths, read: (row) => rows[row] }
}
