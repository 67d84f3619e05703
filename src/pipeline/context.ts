/** What every stage of a pipeline shares, and the one way a stage is run and reported. */

import type { Device } from '../engine/session.ts'
import type { Notice } from '../methods/method.ts'
import { openRun, type Run } from '../runs/directory.ts'
import type { Json } from '../runs/hash.ts'
import { runStage, type Stage, type StageResult, type StageWork } from '../runs/stage.ts'
import type { OnEvent, Section, StageName, StageProgress, Step } from './events.ts'
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
  /** Set where a run has data of two kinds: its stages, files and counts are then the section's own. */
  section?: Section
  notices: Notice[]
  /** Stages run so far, for the result. */
  stages: StageTime[]
}

export interface StageTime {
  name: string
  /** Wall clock of the execution that computed it. */
  seconds: number
  cached: boolean
  /** Of the stage: two uses of one result have the same. */
  key?: string
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

/** What every command's result has of its run; `started`: by `performance.now()`. */
export const ending = <O extends BaseOptions>({ run, notices, options, stages }: Context<O>, started: number) => ({
  run: run.directory,
  notices,
  device: options.device,
  seconds: (performance.now() - started) / 1000,
  stages,
})

export interface PipelineStage<V extends Json> extends Omit<Stage<V>, 'name' | 'execute'> {
  name: Step
  execute(work: StageWork, progress: (progress: StageProgress) => void): ReturnType<Stage<V>['execute']>
  /** Its start was told already. */
  started?: boolean
  /** One line of what came of it. */
  summary?: (value: V) => string
}

/** A step's name as the journal and listeners know it. */
export const stageName = ({ section }: Context, step: Step): StageName =>
  section === undefined ? step : `${section}-${step}`

/** A file of the run whose name another section would take as well. */
export const placed = ({ section }: Context, path: string): string =>
  section === undefined ? path : `${section}/${path}`

/** Counts for the manifest: `rows`, of a section `pickRows`. */
export const countsOf = ({ section }: Context, counts: Record<string, number>): Record<string, number> =>
  section === undefined
    ? counts
    : Object.fromEntries(
        Object.entries(counts).map(([name, value]) => [`${section}${name[0].toUpperCase()}${name.slice(1)}`, value]),
      )

/** Runs a stage or takes it from the run directory, telling the listener either way. */
export async function perform<V extends Json>(context: Context, definition: PipelineStage<V>): Promise<StageResult<V>> {
  const { name: step, summary, execute, started, ...stage } = definition
  const name = stageName(context, step)
  context.signal?.throwIfAborted()
  const result = await runStage<V>(context.run, {
    ...stage,
    name,
    execute: (work) => {
      if (!started) context.emit({ kind: 'stage-start', stage: name, resumedParts: work.parts.length })
      return execute(work, (progress) => context.emit({ kind: 'stage-progress', stage: name, progress }))
    },
  })
  context.stages.push({ name, seconds: result.seconds, cached: result.cached, key: result.key })
  context.emit({
    kind: 'stage-end',
    stage: name,
    cached: result.cached,
    seconds: result.seconds,
    summary: summary?.(result.value),
  })
  return result
}

/** Tells the user something, once, and keeps it for the manifest and the report. */
export function notify(context: Context, { message, ...rest }: Notice): void {
  const { section } = context
  const notice = { message: section === undefined ? message : `${section}: ${message}`, ...rest }
  if (context.notices.some((told) => told.message === notice.message)) return
  context.notices.push(notice)
  context.emit({ kind: 'notice', notice })
}
