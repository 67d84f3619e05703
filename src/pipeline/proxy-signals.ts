/** Computes the signals that come from the proxy's scores of the pool: recorded in its training, or in a pass of their own. */

import { checkpointColumn } from '../methods/checkpoint.ts'
import type { SignalNeed } from '../methods/method.ts'
import { hashJson, type Json } from '../runs/hash.ts'
import { type Signal, signal } from '../signals/signal.ts'
import { leadOf, responsesAlone } from '../training/responses.ts'
import { windowLabels } from '../training/trajectories.ts'
import { notKept, readTensors } from './checkpoints.ts'
import { type Context, notify } from './context.ts'
import { type ImportedName, importScores } from './imported.ts'
import type { ResolvedOptions } from './options.ts'
import type { Tokens } from './pool.ts'
import { proxyFor } from './proxy.ts'
import { narrowed, recordedCheckpoints } from './recording.ts'
import { type RowScoring, scoreRowsOnce } from './row-scores.ts'
import type { ComputedSignals, SignalSources } from './signals.ts'
import { recordPool } from './trajectories.ts'

const OF_PROXY = ['trajectories', 'confidence', 'initial', 'initial_confidence', 'unconditional', 'lengths'] as const

export type ProxyNeed = Extract<SignalNeed, { signal: (typeof OF_PROXY)[number] }>

export const isProxyNeed = (need: SignalNeed): need is ProxyNeed =>
  (OF_PROXY as readonly string[]).includes(need.signal)

/** Computes one signal into `computed`, from those that were computed before. */
export async function computeProxySignal(
  context: Context<ResolvedOptions>,
  need: ProxyNeed,
  computed: ComputedSignals,
  { pool, tokens, scores, pretrained }: SignalSources,
): Promise<void> {
  const { signals, hashes } = computed
  const keep = (found: Signal, hash: string) => {
    signals[found.name] = found
    hashes[found.name] = hash
  }
  const files = scores[need.signal]
  if (files !== undefined) {
    const checkpoints = need.signal === 'trajectories' || need.signal === 'confidence' ? need.checkpoints : undefined
    const imported = await importScores(context, files, {
      name: need.signal as ImportedName,
      facts: pool.facts,
      checkpoints,
    })
    computed.imported ??= imported
    keep(imported.signal, imported.hash)
    return
  }
  const record = async (checkpoints: number) => {
    const { recording } = context.options
    computed.trajectories ??= narrowed(
      await recordPool(context, tokens, recordedCheckpoints(checkpoints, recording), pretrained),
      ...([checkpoints, recording] as const),
    )
    return computed.trajectories
  }
  switch (need.signal) {
    case 'trajectories': {
      const recorded = await record(need.checkpoints)
      keep(recorded.signal, recorded.hash)
      break
    }
    case 'confidence': {
      const recorded = await record(need.checkpoints)
      keep(await recorded.confidence(), recorded.hash)
      break
    }
    case 'initial':
    case 'initial_confidence': {
      const { nll, confidence, hash } = await scoreRowsOnce(context, {
        ...startingModel(context, tokens, pretrained),
        ...{ stage: 'initial', rows: tokens.store },
      })
      keep(signal(need.signal, need.signal === 'initial' ? nll : confidence), hash)
      if (pretrained === undefined) tellOfRandomStart(context)
      break
    }
    case 'unconditional': {
      const { maxLength } = context.options
      const rows = responsesAlone(tokens.store, { maxLength, lead: leadOf(tokens.tokenizer) })
      const at =
        need.checkpoint === 'start'
          ? startingModel(context, tokens, pretrained)
          : await modelAt(context, need.checkpoint, { recorded: await record(need.checkpoints), tokens, pretrained })
      const { nll, hash } = await scoreRowsOnce(context, { ...at, stage: 'unconditional', rows })
      keep(signal('unconditional', nll), hash)
      break
    }
    case 'lengths': {
      const { store, hash } = tokens
      const { maxLength } = context.options
      const whole = need.part === 'all' ? store.lengths : store.labels
      const data = windowLabels(store, maxLength).map((labels, row) => (labels === 0 ? 0 : whole[row]))
      keep(signal('lengths', data), hashJson({ tokens: hash, part: need.part, maxLength }))
    }
  }
}

type ScoringModel = Pick<RowScoring, 'inputs' | 'options' | 'model' | 'weights' | 'lora'>
type Pretrained = SignalSources['pretrained']

const proxyOf = ({ options }: Context<ResolvedOptions>, { store, tokenizer }: Tokens, pretrained: Pretrained) =>
  proxyFor({ rows: store, vocabularySize: tokenizer.vocabularySize, options, pretrained })

/** The proxy before its training: a pretrained model as it is, nano with its random weights. New adapters change nothing. */
function startingModel(context: Context<ResolvedOptions>, tokens: Tokens, pretrained: Pretrained): ScoringModel {
  const { seed } = context.options
  const proxy = proxyOf(context, tokens, pretrained)
  const { model } = proxy
  const inputs = { tokens: tokens.hash }
  if (pretrained !== undefined)
    return { inputs, options: { model: pretrained.hash }, model, weights: () => pretrained.weights() }
  return {
    inputs,
    options: { model: { config: model.config, seed } as Json },
    model,
    weights: async () => (await proxy.start(seed)).state.parameters,
  }
}

interface Recorded {
  recorded: NonNullable<ComputedSignals['trajectories']>
  tokens: Tokens
  pretrained: Pretrained
}

/** The proxy at a checkpoint of its recorded training. */
async function modelAt(
  context: Context<ResolvedOptions>,
  checkpoint: Exclude<Extract<ProxyNeed, { signal: 'unconditional' }>['checkpoint'], 'start'>,
  { recorded, tokens, pretrained }: Recorded,
): Promise<ScoringModel> {
  const { model, choices } = proxyOf(context, tokens, pretrained)
  const { models, hash, facts } = recorded
  const column = checkpointColumn(checkpoint, models.length)
  if (pretrained !== undefined && column !== models.length - 1) throw notKept(checkpoint)
  const { lora } = choices
  return {
    inputs: { tokens: tokens.hash, trajectories: hash },
    options: { step: facts.steps[column] },
    model,
    lora,
    async weights() {
      const trained = await readTensors(context.run.path(models[column]))
      return lora === undefined || pretrained === undefined
        ? trained
        : new Map([...(await pretrained.weights()), ...trained])
    },
  }
}

function tellOfRandomStart(context: Context): void {
  notify(context, {
    code: 'random-start',
    message:
      'nano begins from random weights, which know nothing of any row: scores before training tell rows apart by chance alone (a pretrained --proxy knows something)',
  })
}
