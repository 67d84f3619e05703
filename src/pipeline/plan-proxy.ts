/** What the proxy of a run will cost, from its batches and a short calibration on this machine. */

import type { Device } from '../engine/session.ts'
import type { SignalNeed } from '../methods/method.ts'
import { countParameters } from '../models/parameters.ts'
import { randomStream } from '../random/philox.ts'
import { TRAINED_BIT } from '../tokenizer/tokenizer.ts'
import { type BatchPlan, planBatches } from '../training/batches.ts'
import { collate } from '../training/collate.ts'
import { activationBytes } from '../training/memory.ts'
import type { TokenRows } from '../training/rows.ts'
import type { Trainer } from '../training/trainer.ts'
import { planTrajectories, scoringTokens } from '../training/trajectories.ts'
import type { Counted } from './counted.ts'
import type { ResolvedOptions } from './options.ts'
import type { Pretrained } from './pretrained.ts'
import { proxyFor, startTrainer, type TrainedProxy } from './proxy.ts'

/** Plans every batch of the proxy's run and tries a few on this machine. Writes nothing. */
export async function planProxy(
  counted: Counted,
  checkpoints: number,
  { device, options, pretrained }: { device: Device; options: ResolvedOptions; pretrained?: Pretrained },
) {
  const proxy = proxyFor({ rows: counted, vocabularySize: counted.vocabularySize, options, pretrained })
  const { recipe } = proxy
  const { maxLength, epochs } = recipe
  const trainOn = Uint32Array.from(counted.inWindow.keys()).filter((row) => counted.inWindow[row] > 0)
  const plan = planTrajectories(counted, recipe, checkpoints, options.seed, trainOn)
  const trainer = await startTrainer(proxy, device, options)
  try {
    const { density } = counted
    const epoch = epochFlops(trainer, counted, proxy, { trainOn, seed: options.seed })
    const scoring = planBatches(counted.lengths, { tokensPerBatch: scoringTokens(recipe), maxLength })
    const pass = flopsOf(trainer, scoring, density).score
    const recorded = plan.checkpointSteps.length
    const flops = {
      training: epochs * epoch,
      scoring: recorded * pass,
      total: epochs * epoch + recorded * pass,
    }
    const rate = {
      train: await calibrate(trainer, counted, proxy, 'train'),
      score: await calibrate(trainer, counted, proxy, 'score'),
    }
    const parameters = countParameters(proxy.model.parameters)
    const trained = countParameters(trainer.parameters)
    return {
      hiddenSize: proxy.model.hiddenSize,
      /** Of one pass over the pool without gradients. */
      passSeconds: pass / rate.score,
      passFlops: pass,
      facts: {
        name: options.proxy,
        parameters,
        vocabularySize: counted.vocabularySize,
        epochs,
        steps: plan.steps,
        checkpoints: recorded,
        trained,
        memoryBytes: trainingBytes(proxy, { trained, density }),
      },
      flops,
      seconds: [
        { stage: 'train the proxy', seconds: flops.training / rate.train },
        {
          stage: recorded === 1 ? 'score the pool' : `score the pool ${recorded} times`,
          seconds: flops.scoring / rate.score,
        },
      ],
      diskBytes: 8 * recorded * counted.count + (pretrained ? 1 : recorded) * 4 * trained + 8 * trained,
    }
  } finally {
    await trainer.release()
  }
}

/** The passes over the pool that signals take beside the recorded training, each once. */
export function scoringPasses(
  needs: readonly SignalNeed[],
  { signals }: Pick<ResolvedOptions, 'signals'>,
  counted: Counted,
): { stage: string; passes: number }[] {
  const wants = (...names: string[]) =>
    needs.some(({ signal }) => names.includes(signal) && !Object.hasOwn(signals, signal))
  return [
    ...(wants('initial', 'initial_confidence') ? [{ stage: 'score the pool before training', passes: 1 }] : []),
    // The matrix products of a response's tokens cost what they cost in the row.
    ...(wants('unconditional') ? [{ stage: 'score responses alone', passes: counted.density }] : []),
  ]
}

/** FLOPs of batches in training and in scoring; `density`: share of tokens that carry loss. */
export function flopsOf(trainer: Trainer, { batches }: BatchPlan, density: number): { train: number; score: number } {
  let [train, score] = [0, 0]
  for (const { rows, length } of batches) {
    const labels = Math.round(rows.length * length * density)
    const flops = trainer.flops({ rows: rows.length, length, labels })
    train += flops.train
    score += flops.score
  }
  return { train, score }
}

/** FLOPs of one pass of training over these rows. */
export function epochFlops(
  trainer: Trainer,
  counted: Counted,
  { recipe: { tokensPerBatch, maxLength } }: TrainedProxy,
  { trainOn, seed }: { trainOn: Uint32Array; seed: number },
): number {
  const shuffle = { seed, epoch: 0 }
  const planned = planBatches(counted.lengths, { tokensPerBatch, maxLength, rows: trainOn, shuffle })
  return flopsOf(trainer, planned, counted.density).train
}

/** Weight, gradient and two moments of a trained parameter, 4 bytes each; a frozen weight; what a pass keeps for going back. */
export function trainingBytes(
  { model, choices, recipe }: TrainedProxy,
  of: { trained: number; density: number },
): number {
  const { maxLength, tokensPerBatch, microBatch = tokensPerBatch } = recipe
  const rows = Math.max(1, Math.round(Math.min(tokensPerBatch, microBatch) / maxLength))
  const labels = Math.ceil(of.density * rows * maxLength)
  const frozen = choices.lora === undefined ? 0 : countParameters(model.parameters)
  return 16 * of.trained + 4 * frozen + activationBytes(model, choices, { rows, length: maxLength, labels })
}

/** FLOPs a second in training or scoring, from a few steps at the pool's mean length after one to warm up. */
export async function calibrate(
  trainer: Trainer,
  counted: Counted,
  { model, recipe }: TrainedProxy,
  kind: 'train' | 'score',
): Promise<number> {
  const { density } = counted
  const { maxLength, tokensPerBatch, microBatch = Number.POSITIVE_INFINITY } = recipe
  const length = Math.max(2, Math.min(maxLength, Math.round(counted.tokens / counted.count))) - 1
  const tokens = kind === 'train' ? Math.min(tokensPerBatch, microBatch) : scoringTokens(recipe)
  const rows = Math.max(1, Math.floor(tokens / length))
  const pool = calibrationRows(rows, length, density, model.vocabularySize)
  const all = { rows: Uint32Array.from(pool.lengths.keys()), length: length + 1 }
  const batch = collate(pool, all, length + 1, kind === 'train' ? trainer.padding : trainer.scorer.padding)
  const flops = trainer.flops({ rows: batch.shape[0], length, labels: batch.positions.length })[kind]
  const step = () => (kind === 'train' ? trainer.train(batch, 0) : trainer.scorer.score(batch))
  await step()
  const started = performance.now()
  let steps = 0
  do {
    await step()
    steps++
  } while (steps < 3 || performance.now() - started < 1000)
  return (steps * flops * 1000) / (performance.now() - started)
}

/** Rows of random tokens whose last `density` share is trained on. A row's last token is predicted, never read. */
function calibrationRows(count: number, length: number, density: number, vocabularySize: number): TokenRows {
  const stream = randomStream(0, 'calibration')
  const labels = Math.max(1, Math.round((length - 1) * density))
  const draw = (j: number) => (stream.below(vocabularySize) | (j > length - labels ? TRAINED_BIT : 0)) >>> 0
  const rows = Array.from({ length: count }, () => Uint32Array.from({ length: length + 1 }, (_, j) => draw(j)))
  return {
    count,
    lengths: new Uint32Array(count).fill(length + 1),
    labels: new Uint32Array(count).fill(labels),
    read: (row) => rows[row],
  }
}
