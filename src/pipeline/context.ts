/** What every stage of a pipeline shares, and the one way a stage is run and reported. */

import type { Device } from '../engine/session.ts'
import type { Notice } from '../methods/method.ts'
import type { Run } from '../runs/directory.ts'
import type { Json } from '../runs/hash.ts'
import { runStage, type Stage, type StageResult, type StageWork } from '../runs/stage.ts'
import type { OnEvent, StageName, StageProgress } from './events.ts'
import type { ResolvedOptions } from './options.ts'

export interface Context {
  run: Run
  options: ResolvedOptions
  device: Device
  emit: OnEvent
  signal?: AbortSignal
  notices: Notice[]
  /** The output that stands at `options.out` is this very command's own, from before. */
  ownOutput: boolean
  /** Stages run so far, for the result. */
  stages: { name: string; seconds: number; cached: boolean }[]
}

export interface PipelineStage<V extends Json> extends Omit<Stage<V>, 'name' | 'execute'> {
  name: StageName
  execute(work: StageWork, progress: (progress: StageProgress) => void): ReturnType<Stage<V>['execute']>
  /** Its start was told already. */
  started?: boolean
  /** One line of what came of it. */
  summary?: (value: V) => string
}

/** Runs a stage or takes it from the run directory, telling the listener either way. */
export async function perform<V extends Json>(context: Context, definition: PipelineStage<V>): Promise<StageResult<V>> {
  const { name, summary, execute, started, ...stage } = definition
  context.signal?.throwIfAborted()
  const result = await runStage<V>(context.run, {
    ...stage,
    name,
    execute: (work) => {
      if (!started) context.emit({ kind: 'stage-start', stage: name, resumedParts: work.parts.length })
      return execute(work, (progress) => context.emit({ kind: 'stage-progress', stage: name, progress }))
    },
  })
  context.stages.push({ name, seconds: result.seconds, cached: result.cached })
  context.emit({
    kind: 'stage-end',
    stage: name,
    cached: result.cached,
    seconds: result.seconds,
    summary: summary?.(result.value),
  })
  return result
}

/** Tells the user something, and keeps it for the manifest and the report. */
export function notify(context: Context, notice: Notice): void {
  context.notices.push(notice)
  context.emit({ kind: 'notice', notice })
}
