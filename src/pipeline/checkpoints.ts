/** What a recorded run leaves at each checkpoint, and how a killed one goes on from it. */

import { readFile } from 'node:fs/promises'
import { readSafetensors, writeSafetensors } from '../models/safetensors.ts'
import type { OutputRecord } from '../runs/journal.ts'
import type { StageWork } from '../runs/stage.ts'
import { readNpy } from '../signals/npy.ts'
import type { TrainingState } from '../training/state.ts'

/** Files of one checkpoint. The stage's key is in their names: runs with other recipes or seeds lie beside each other. */
export function checkpointFiles(key: string, step: number) {
  const name = `${key.slice(0, 12)}/step-${String(step).padStart(6, '0')}`
  return {
    losses: `signals/trajectories/${name}.npy`,
    model: `checkpoints/${name}.safetensors`,
    optimiser: `checkpoints/${name}.optimiser.safetensors`,
  }
}

export interface Resumed {
  /** Of the last whole checkpoint. */
  state?: TrainingState
  index: number
  nll?: Float32Array
  outputs: OutputRecord[]
  optimiserFile?: string
}

/** Finds the last checkpoint up to which every file is intact and whose optimiser state is there. */
export async function resume(work: StageWork, steps: readonly number[]): Promise<Resumed> {
  const outputs: OutputRecord[] = []
  let found: Resumed = { index: -1, outputs: [] }
  for (const [index, step] of steps.entries()) {
    const part = work.parts.find(({ part }) => part === `checkpoint ${index}`)
    const file = (path: string) => part?.outputs.find((output) => output.path === path && output.intact)
    const files = checkpointFiles(work.key, step)
    const [losses, model] = [file(files.losses), file(files.model)]
    if (losses === undefined || model === undefined) break
    outputs.push(losses, model)
    const optimiser = file(files.optimiser)
    if (optimiser === undefined) continue
    const read = async (path: string) => readSafetensors(await readFile(work.path(path)))
    const moments = (await read(optimiser.path)).tensors
    const moment = (kind: string) =>
      new Map(
        [...moments]
          .filter(([name]) => name.startsWith(kind))
          .map(([name, tensor]) => [name.slice(kind.length), tensor]),
      )
    found = {
      index,
      state: { step, parameters: (await read(model.path)).tensors, first: moment('first/'), second: moment('second/') },
      nll: readNpy(await readFile(work.path(losses.path))).data as Float32Array,
      outputs: [...outputs],
      optimiserFile: optimiser.path,
    }
  }
  return found
}

export function optimiserBytes({ first, second }: TrainingState): Uint8Array {
  const named = (kind: string, tensors: TrainingState['first']) =>
    [...tensors].map(([name, tensor]) => [`${kind}/${name}`, tensor] as const)
  return writeSafetensors(new Map([...named('first', first), ...named('second', second)]))
}
