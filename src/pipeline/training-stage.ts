/** The stage that fine-tunes a model, resumable checkpoint by checkpoint. */

import { unlink } from 'node:fs/promises'
import { countParameters } from '../models/parameters.ts'
import type { Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import { trainSteps } from '../training/loop.ts'
import { cosineRate } from '../training/schedule.ts'
import type { TrajectoryPlan } from '../training/trajectories.ts'
import { checkpointFiles, resume, writeState } from './checkpoints.ts'
import { type Context, notify, perform } from './context.ts'
import type { Tokens } from './pool.ts'
import { startTrainer, type TrainedProxy } from './proxy.ts'
import { smallerParts } from './trajectories.ts'

export type TrainedFacts = {
  /** Mean NLL of the first and of the last tenth of all steps. */
  loss: { first: number; last: number }
  parameters: number
  /** Of them, or beside them, trained. */
  trained: number
  padding: number
}

interface Training {
  tokens: Tokens
  proxy: TrainedProxy
  trainOn: Uint32Array
  plan: TrajectoryPlan
}

/** A step as the curve keeps it. */
type CurvePoint = { step: number; rate: number; loss: number; tokens: number }

/**
 * Runs the stage. `state`: what was trained, a safetensors file of the run; `curve`: the loss of every step, JSON Lines; `hash`: of both, for
 * what goes on from there.
 */
export async function trainModel(
  context: Context,
  { tokens, proxy, trainOn, plan }: Training,
): Promise<{ facts: TrainedFacts; state: string; curve: string; hash: string }> {
  const { options, device, run } = context
  const { store } = tokens
  const { recipe } = proxy
  const result = await perform<Json>(context, {
    name: 'train',
    version: 1,
    inputs: { tokens: tokens.hash },
    options: {
      model: proxy.identity,
      checkpoints: plan.checkpointSteps,
      seed: options.seed,
      device: device.name,
      precision: options.precision,
      onnxruntime: run.manifest.versions['onnxruntime-node'] ?? '',
    },
    async execute(work, progress) {
      const resumed = await resume(work, { steps: plan.checkpointSteps, losses: false, models: 'last' })
      const done = resumed.state?.step ?? 0
      const curve: CurvePoint[] = work.parts
        .flatMap(({ value }) => value as unknown as CurvePoint[])
        .filter(({ step }) => step <= done)
      const trainer = await startTrainer(proxy, device, options, resumed.state)
      try {
        let { replaced, index } = resumed
        let [fresh, processed, loss] = [[] as CurvePoint[], 0, undefined as number | undefined]
        const warmup = Math.ceil(plan.steps * recipe.warmupShare)
        const schedule = { peak: recipe.rate, warmup, steps: plan.steps, floor: recipe.rate * recipe.floorShare }
        const steps = trainSteps({
          trainer,
          rows: store,
          recipe,
          seed: options.seed,
          trainOn,
          steps: plan.steps,
          done,
          signal: context.signal,
          onSmallerParts: (size) => notify(context, smallerParts(size)),
        })
        for await (const { step, tokens: size, loss: latest } of steps) {
          if (latest === undefined) continue
          fresh.push({ step, rate: cosineRate(schedule, step), loss: latest, tokens: size })
          processed += size
          loss = loss === undefined ? latest : 0.9 * loss + 0.1 * latest
          progress({
            fraction: step / plan.steps,
            detail: `step ${step} of ${plan.steps}`,
            done: processed,
            unit: 'tokens',
            loss,
          })
          if (step !== plan.checkpointSteps[index + 1]) continue
          index++
          const { model, optimiser } = await writeState(work, checkpointFiles(work.key, step), await trainer.state())
          await work.finishPart(`checkpoint ${index}`, [model, optimiser], fresh as unknown as Json)
          for (const { path } of replaced) await unlink(work.path(path)).catch(() => undefined)
          replaced = [model, optimiser]
          curve.push(...fresh)
          fresh = []
        }
        // Points from the journal have their members in another order.
        const line = ({ step, rate, loss, tokens }: CurvePoint) => `${JSON.stringify({ step, rate, loss, tokens })}\n`
        const lines = curve.map(line).join('')
        const outputs: OutputRecord[] = [
          ...replaced.filter(({ path }) => !path.includes('.optimiser.')),
          await work.write(`training/${work.key.slice(0, 12)}/loss.jsonl`, lines),
        ]
        const tenth = Math.max(1, Math.floor(curve.length / 10))
        const mean = (points: CurvePoint[]) => points.reduce((total, point) => total + point.loss, 0) / points.length
        const facts: TrainedFacts = {
          loss: { first: mean(curve.slice(0, tenth)), last: mean(curve.slice(-tenth)) },
          parameters: countParameters(proxy.model.parameters),
          trained: countParameters(trainer.parameters),
          padding: plan.padding,
        }
        return { outputs, value: facts as unknown as Json }
      } finally {
        await trainer.release()
      }
    },
    summary: (value) => {
      const { loss, trained } = value as unknown as TrainedFacts
      return `${(trained / 1e6).toFixed(2)}M trained parameters, ${plan.steps} steps, loss ${loss.first.toFixed(3)} → ${loss.last.toFixed(3)} nats a token`
    },
  })
  const last = plan.checkpointSteps.at(-1) as number
  return {
    facts: result.value as unknown as TrainedFacts,
    state: checkpointFiles(result.key, last).model,
    curve: `training/${result.key.slice(0, 12)}/loss.jsonl`,
    hash: result.hash,
  }
}
