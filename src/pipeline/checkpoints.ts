/** What a recorded run leaves at each checkpoint, and how a killed one goes on from it. */

import { readFile } from 'node:fs/promises'
import type { TensorMap } from '../engine/tensor.ts'
import { WinnowError } from '../errors.ts'
import type { WeightFiles } from '../hub/model-files.ts'
import { openSafetensors } from '../hub/weights.ts'
import { type Checkpoint, checkpointColumn } from '../methods/checkpoint.ts'
import type { SignalNeed } from '../methods/method.ts'
import { encodeFloats } from '../models/float-formats.ts'
import { isNano } from '../models/nano.ts'
import { encodeSafetensorsHeader } from '../models/safetensors.ts'
import type { AtomicFile } from '../runs/files.ts'
import type { FileRecord } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import type { StageWork } from '../runs/stage.ts'
import { readNpy } from '../signals/npy.ts'
import type { TrainingState } from '../training/state.ts'
import { embeddedCheckpoints, type ProxyUse, readsHidden } from './recording.ts'

/** Files of one checkpoint. The stage's key is in their names: runs with other recipes or seeds lie beside each other. */
export function checkpointFiles(key: string, step: number) {
  const name = `${key.slice(0, 12)}/step-${String(step).padStart(6, '0')}`
  return {
    losses: `signals/trajectories/${name}.npy`,
    confidence: `signals/confidence/${name}.npy`,
    model: `checkpoints/${name}.safetensors`,
    optimiser: `checkpoints/${name}.optimiser.safetensors`,
  }
}

export interface Resumed {
  /** Of the last checkpoint that can be gone on from. */
  state?: TrainingState
  index: number
  nll?: Float32Array
  /** Files of it and of the checkpoints before it, as far as they are there. */
  outputs: OutputRecord[]
  /** Of them, what the next checkpoint replaces. */
  replaced: OutputRecord[]
}

export interface CheckpointPlan {
  steps: readonly number[]
  /** Whether each checkpoint has the losses and the confidence of all rows. */
  losses: boolean
  /** Which models are kept: of all checkpoints, or of the last one. */
  models: 'all' | 'last'
}

/** Finds the last checkpoint up to which every file of losses is intact and whose model and optimiser state are there. */
export async function resume(work: StageWork, { steps, losses, models }: CheckpointPlan): Promise<Resumed> {
  const before: OutputRecord[] = []
  let found: Resumed = { index: -1, outputs: [], replaced: [] }
  for (const [index, step] of steps.entries()) {
    const part = work.parts.find(({ part }) => part === `checkpoint ${index}`)
    const file = (path: string) => part?.outputs.find((output) => output.path === path && output.intact)
    const files = checkpointFiles(work.key, step)
    const [loss, confidence] = [file(files.losses), file(files.confidence)]
    const [model, optimiser] = [file(files.model), file(files.optimiser)]
    if (losses && (loss === undefined || confidence === undefined)) break
    if (models === 'all' && model === undefined) break
    for (const scores of [loss, confidence]) if (scores !== undefined) before.push(scores)
    if (model !== undefined && models === 'all') before.push(model)
    if (model === undefined || optimiser === undefined) continue
    found = {
      index,
      state: await readState(work, files, step),
      nll: loss && (readNpy(await readFile(work.path(loss.path))).data as Float32Array),
      outputs: [...before],
      replaced: models === 'all' ? [optimiser] : [model, optimiser],
    }
  }
  return found
}

/** The state that `writeState` has written. */
export async function readState(
  work: Pick<StageWork, 'path'>,
  files: ReturnType<typeof checkpointFiles>,
  step: number,
): Promise<TrainingState> {
  const moments = await readTensors(work.path(files.optimiser))
  const moment = (kind: string) =>
    new Map(
      [...moments].filter(([name]) => name.startsWith(kind)).map(([name, tensor]) => [name.slice(kind.length), tensor]),
    )
  const parameters = await readTensors(work.path(files.model))
  return { step, parameters, first: moment('first/'), second: moment('second/') }
}

/** Writes the model and the optimiser's state of a checkpoint, tensor by tensor. */
export async function writeState(
  work: StageWork,
  files: ReturnType<typeof checkpointFiles>,
  { step, parameters, first, second }: TrainingState,
): Promise<{ model: OutputRecord; optimiser: OutputRecord }> {
  const named = (kind: string, tensors: TensorMap) =>
    [...tensors].map(([name, tensor]) => [`${kind}/${name}`, tensor] as const)
  return {
    model: await writeTensors(work, files.model, parameters, { step: String(step) }),
    optimiser: await writeTensors(
      work,
      files.optimiser,
      new Map([...named('first', first), ...named('second', second)]),
    ),
  }
}

async function writeTensors(
  work: StageWork,
  path: string,
  tensors: TensorMap,
  metadata: Record<string, string> = {},
): Promise<OutputRecord> {
  await using file = await work.create(path)
  return { path, ...(await commitTensors(file, tensors, metadata)) }
}

/** Numbers written at a time. */
const CHUNK = 2 ** 20

/** Fills a file with float32 tensors, a stretch at a time, and gives it its name. */
export async function commitTensors(
  file: AtomicFile,
  tensors: TensorMap,
  metadata: Record<string, string>,
): Promise<FileRecord> {
  await file.write(encodeSafetensorsHeader([...tensors], { dtype: 'F32', metadata }))
  for (const { data } of tensors.values()) {
    for (let at = 0; at < data.length; at += CHUNK) await file.write(encodeFloats(data.subarray(at, at + CHUNK), 'F32'))
  }
  return await file.commit()
}

export async function readTensors(path: string): Promise<TensorMap> {
  await using file = await openSafetensors(path)
  return await allTensors(file)
}

/** Every tensor of a file, in memory. */
export async function allTensors(file: WeightFiles): Promise<TensorMap> {
  const tensors: TensorMap = new Map()
  for (const [name, { shape }] of file.names()) tensors.set(name, { shape: [...shape], data: await file.read(name) })
  return tensors
}

/**
 * Refuses, before anything is trained, a checkpoint whose weights will not be there.
 *
 * @throws {WinnowError} `checkpoint-not-kept`, `no-such-checkpoint`, `no-checkpoints`.
 */
export function checkKept(needs: readonly SignalNeed[], use: ProxyUse): void {
  const pretrained = !isNano(use.proxy)
  for (const need of needs) {
    if (readsHidden(need, use)) checkHidden(use.proxy, need.checkpoint)
    if (need.signal !== 'unconditional' || need.checkpoint === 'start') continue
    const column = checkpointColumn(need.checkpoint, need.checkpoints)
    if (pretrained && column !== need.checkpoints - 1) throw notKept(need.checkpoint)
  }
}

function checkHidden(proxy: string, checkpoint: Checkpoint = 'late'): void {
  if (checkpoint === 'late' || checkpoint === 'auto') return
  if (!isNano(proxy)) throw noCheckpoints(proxy, checkpoint)
  const recorded = embeddedCheckpoints(checkpoint)
  if (checkpoint === 'start' || (typeof checkpoint === 'number' && checkpoint > recorded))
    throw noHiddenStates(checkpoint, recorded)
}

export const noCheckpoints = (proxy: string, checkpoint: Checkpoint): WinnowError =>
  new WinnowError('usage', {
    code: 'no-checkpoints',
    message: 'a pretrained proxy embeds as it is and has no earlier checkpoints',
    path: '--checkpoint',
    found: `${checkpoint}, with --proxy ${proxy}`,
    expected: 'late',
    hint: 'Leave out --checkpoint, or use --proxy nano, whose checkpoints are all kept.',
  })

export const noHiddenStates = (checkpoint: Checkpoint, recorded: number): WinnowError =>
  new WinnowError('usage', {
    code: 'no-such-checkpoint',
    message: 'the proxy has no hidden states at this checkpoint',
    path: '--checkpoint',
    found: String(checkpoint),
    expected: `1 to ${recorded}, early or late`,
  })

export const notKept = (checkpoint: string | number): WinnowError =>
  new WinnowError('usage', {
    code: 'checkpoint-not-kept',
    message:
      'of a pretrained proxy only the last weights are kept, and responses without their prompts need a pass of their own',
    path: '--checkpoint',
    found: String(checkpoint),
    expected: 'start or late',
    hint: 'nano keeps the weights of every checkpoint.',
  })
