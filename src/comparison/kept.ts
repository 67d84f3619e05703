/** Trained targets that are kept, each as a model directory: what further tests and metrics score without training. */

import { existsSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import type { Cell, Comparison } from '../evaluation/comparison.ts'
import { writeSafetensors } from '../models/safetensors.ts'
import { readTensors } from '../pipeline/checkpoints.ts'
import { writeModel } from '../pipeline/saved-model.ts'
import type { Run } from '../runs/directory.ts'
import { writeFileAtomic } from '../runs/files.ts'
import type { Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import { runStage, type Stage, type StageWork, stageKey } from '../runs/stage.ts'
import type { TrainingState } from '../training/state.ts'
import { startingState, type Trainer } from '../training/trainer.ts'
import { type TargetModel, targetWeights } from './target-model.ts'

/** What decides what a target is: as of a stage. */
export type TargetIdentity = Pick<Stage<Json>, 'inputs' | 'options'>

const stageOf = ({ inputs, options }: TargetIdentity) => ({ name: 'trained', version: 1, inputs, options })

/** The directory of a target in the run, by the key of the stage that trained it. */
const directoryOf = (key: string): string => `targets/${key.slice(0, 12)}`

/** Where this target lies, if the run has it and its files are there, by their sizes. */
export async function keptDirectory(run: Run, identity: TargetIdentity): Promise<string | undefined> {
  const key = stageKey(stageOf(identity))
  const done = run.journal.records.findLast((record) => record.event === 'done' && record.key === key)
  if (done === undefined) return undefined
  for (const { path, size } of done.outputs) {
    const found = await stat(run.path(path)).catch(() => undefined)
    if (found?.size !== size) return undefined
  }
  return directoryOf(key)
}

/** Whether a run that was stopped has begun to train this target in order to keep it. */
export function isBegun({ journal }: Run, identity: TargetIdentity): boolean {
  const key = stageKey(stageOf(identity))
  const last = journal.records.findLast((record) => record.key === key)
  return last?.event === 'part'
}

export interface Kept {
  training: Cell['training']
  /** Nothing was trained. */
  cached: boolean
  /** A trainer with what was trained. */
  trainer(): Promise<Trainer>
}

interface Keeping {
  target: TargetModel
  train(work: StageWork): Promise<{ trainer: Trainer; training: Cell['training'] }>
  /** A trainer in this state. */
  open(state: TrainingState): Promise<Trainer>
}

/** Trains a target and keeps it, or finds it where the run has it whole. */
export async function trainAndKeep(run: Run, identity: TargetIdentity, keeping: Keeping): Promise<Kept> {
  const { target, train, open } = keeping
  let trainer: Trainer | undefined
  const { key, value, cached } = await runStage<Json>(run, {
    ...stageOf(identity),
    async execute(work) {
      const trained = await train(work)
      trainer = trained.trainer
      const outputs = await keepTarget(work, target, trainer)
      return { outputs, value: JSON.parse(JSON.stringify({ training: trained.training })) as Json }
    },
  })
  return {
    ...(value as unknown as Pick<Kept, 'training'>),
    cached,
    trainer: async () => trainer ?? open(await keptState(run.path(directoryOf(key)), target)),
  }
}

interface Listed {
  method: string
  /** Null of `full`. */
  budget: string | null
  seed: number
  directory: string
}

/** Writes `targets.json`: which target each directory is, those of earlier commands too. None where none is kept. */
export async function listTargets(run: Run, { cells, budgets }: Pick<Comparison, 'cells' | 'budgets'>): Promise<void> {
  const file = run.path('targets.json')
  const named = cells.map(({ method, budget, seed, kept }) => ({
    ...{ method, budget: budgets[budget]?.text ?? null, seed, directory: kept },
  }))
  const nameOf = ({ method, budget, seed }: Omit<Listed, 'directory'>) => JSON.stringify([method, budget, seed])
  const now = new Set(named.map(nameOf))
  const earlier = await readFile(file, 'utf8').then(
    (text) => JSON.parse(text) as Listed[],
    () => undefined,
  )
  const before = (earlier ?? []).filter((one) => !now.has(nameOf(one)) && existsSync(run.path(one.directory)))
  const kept = [...before, ...named.filter(({ directory }) => directory !== undefined)]
  if (earlier !== undefined || kept.length > 0) await writeFileAtomic(file, `${JSON.stringify(kept, null, 1)}\n`)
}

/** Of adapters as they were trained; the weights beside them have them added in. */
const ADAPTERS = 'adapters.safetensors'

/** Writes a target in the Hugging Face layout, float32. Memory: one more copy of the weights where adapters are merged. */
async function keepTarget(work: StageWork, target: TargetModel, trainer: Trainer): Promise<OutputRecord[]> {
  const directory = directoryOf(work.key)
  const { proxy, pretrained, tokens } = target
  const { parameters } = await trainer.state()
  const weights = await targetWeights(target, parameters)
  const tensors = proxy.model.parameters.map(({ name }) => {
    const tensor = weights.get(name)
    if (tensor === undefined) throw new Error(`keepTarget: the target has no '${name}'`)
    return [name, { shape: tensor.shape, data: tensor.data as Float32Array }] as const
  })
  // One file: it is read back whole.
  const whole = { tensors, maximumShardBytes: Number.POSITIVE_INFINITY }
  const model = { proxy, pretrained, tokenizer: tokens.tokenizer }
  const written = await writeModel(work.path(directory), model, whole)
  const outputs = Object.entries(written).map(([name, record]) => ({ path: `${directory}/${name}`, ...record }))
  if (proxy.choices.lora !== undefined)
    outputs.push(await work.write(`${directory}/${ADAPTERS}`, writeSafetensors(parameters)))
  return outputs
}

/** What was trained, for scoring: the moments are zero. */
async function keptState(path: string, { proxy }: TargetModel): Promise<TrainingState> {
  return startingState(
    await readTensors(`${path}/${proxy.choices.lora === undefined ? 'model.safetensors' : ADAPTERS}`),
  )
}
