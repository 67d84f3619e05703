/** What every stage of a pipeline shares, and the one way a stage is run and reported. */

import type { Device } from '../engine/session.ts'
import type { Notice } from '../methods/method.ts'
import { openRun, type Run } from '../runs/directory.ts'
import type { Json } from '../runs/hash.ts'
import { runStage, type Stage, type StageResult, type StageWork } from '../runs/stage.ts'
import type { OnEvent, StageName, StageProgress } from './events.ts'
import type { ResolvedModelOptions } from './model-options.ts'
import type { PipelineContext, ResolvedPoolOptions } from './pool-options.ts'
import { versions } from './versions.ts'

export type BaseOptions = ResolvedPoolOptions & ResolvedModelOptions

/** `O`: the options of the command. */
export interface Context<O extends BaseOptions = BaseOptions> {
  run: Run
  options: O
  device: Device
  emit: OnEvent
  signal?: AbortSignal
  notices: Notice[]
  /** Stages run so far, for the result. */
  stages: { name: string; seconds: number; cached: boolean }[]
}

/** Opens the run directory of a command. The caller disposes of `run`. */
export async function openContext<O extends BaseOptions>(
  options: O,
  config: Record<string, Json>,
  { ort, onEvent = () => {}, signal }: PipelineContext,
): Promise<Context<O>> {
  const { device: name, threads, precision } = options
  const run = await openRun(options.run, {
    config,
    seeds: { seed: options.seed },
    versions: await versions(),
    // Only the cpu provider is promised to repeat to the bit (docs/decisions/0008-same-bits.md).
    device: { name, threads, repeatable: name === 'cpu', ...(precision === 'float32' ? {} : { precision }) },
  })
  return {
    run,
    options,
    device: { ort, name, threads, precision },
    emit: onEvent,
    signal,
    notices: [],
    stages: [],
  }
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
