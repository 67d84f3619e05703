/** `analyse`: what the clusters, the pick and the gradients behind a finished selection say. */

import { buildAnalysis } from '../report/analysis.ts'
import { writeFileAtomic } from '../runs/files.ts'
import type { Json } from '../runs/hash.ts'
import type { Manifest } from '../runs/manifest.ts'
import { NO_CLUSTER } from '../signals/clusters.ts'
import { openTokenStore } from '../tokenizer/store.ts'
import {
  type AnalyseOptions,
  type AnalyseResult,
  type ResolvedAnalyseOptions,
  resolveAnalyseOptions,
} from './analyse-options.ts'
import { writeAnalysis } from './analysis-stage.ts'
import { type BaseOptions, type Context, notify, openContext } from './context.ts'
import { type FinishedSelection, intactFile, readFinished, readSelection, stageOf } from './finished-run.ts'
import { type ComparedGradients, compareGradients, type GradientSources } from './gradients.ts'
import { resolveModelOptions } from './model-options.ts'
import { memoryBytes, type PipelineContext, resolvePoolOptions } from './pool-options.ts'
import { maybePretrained, type Pretrained } from './pretrained.ts'

/**
 * Analyses a finished selection from its run directory alone: the pool is not read again. What topics (sources) its clusters gather, how the pick shifts
 * them, and whether rows of one cluster have more similar gradients at the proxy's checkpoints, each beside chance. Writes
 * `analysis.json` and `analysis.html` into the run. The gradients of each checkpoint are kept: a killed command goes on after the last.
 *
 * Same run, options and seed on the cpu device: the same numbers.
 *
 * @throws {WinnowError} `not-a-run`, `not-a-selection`, `unfinished-run`, `damaged-run`, `bad-option`; `signal.reason` when aborted.
 */
export async function analyse(asked: AnalyseOptions, pipeline: PipelineContext): Promise<AnalyseResult> {
  const started = performance.now()
  const { onEvent = () => {}, signal } = pipeline
  const options = resolveAnalyseOptions(asked)
  const manifest = await readFinished(options.run)
  const base = baseOptions(options, manifest)
  const recording = options.sample === 0 ? undefined : stageOf(manifest, 'trajectories')
  const lora = manifest.config.lora as number | null | undefined
  await using pretrained =
    recording !== undefined && typeof lora === 'number' ? await maybePretrained(base, { onEvent, signal }) : undefined
  const context = await openContext(base, manifest.config as Record<string, Json>, pipeline)
  await using run = context.run
  const versions = { ...run.manifest.versions }
  // Still the selection's manifest: it replays that, and says of its stages what it said.
  await run.update(manifest)
  onEvent({ kind: 'plan', stages: [...(recording ? (['gradients'] as const) : []), 'analysis'] })
  const selection = await readSelection(run, manifest)
  if ((selection.source?.labels?.length ?? 0) < 2)
    notify(context, {
      code: 'no-topics',
      message: `${selection.source ? 'all rows name one source' : 'no row of the pool names a source'}, so there are no topics to tell apart`,
    })
  const gradients =
    recording && (await gradientsOf(context, { options, manifest, selection, recording, versions, pretrained }))
  if (recording === undefined && options.sample > 0)
    notify(context, {
      code: 'no-proxy',
      message: 'the run recorded no proxy of its own, so there are no gradients to compare',
    })
  const analysis = await writeAnalysis(context, { options, manifest, selection, gradients })
  const report = run.path('analysis.html')
  const { notices } = context
  await writeFileAtomic(
    report,
    buildAnalysis({
      ...{ analysis, versions, device: context.device.name, notices: notices.map(({ message }) => message) },
      title: base.pool.join(', '),
      command: options.command ?? 'winnow analyse',
    }),
  )
  return {
    ...analysis,
    ...{ run: run.directory, report, file: run.path('analysis.json'), notices, device: context.device.name },
    seconds: (performance.now() - started) / 1000,
    stages: context.stages,
  }
}

/** The selection's options as far as stages look at them, with this command's machine and seed. */
function baseOptions(options: ResolvedAnalyseOptions, { config }: Manifest): BaseOptions {
  const text = (name: string) => (typeof config[name] === 'string' ? config[name] : undefined)
  const number = (name: string) => (typeof config[name] === 'number' ? config[name] : undefined)
  return {
    ...resolvePoolOptions(
      {
        pool: config.pool as string[],
        run: options.run,
        seed: options.seed ?? number('seed'),
        memoryLimit: options.memoryLimit,
        command: options.command,
      },
      { run: options.run, command: 'winnow analyse', example: 'winnow analyse pool.winnow' },
    ),
    ...resolveModelOptions({
      proxy: text('proxy'),
      revision: text('revision'),
      offline: config.offline === true,
      device: options.device,
      threads: options.threads,
      maxLength: number('maxLength'),
    }),
  }
}

/** Bytes that the gradients of a checkpoint may take, unless said otherwise. */
const GRADIENT_BYTES = 2 ** 30

interface Parts {
  options: ResolvedAnalyseOptions
  manifest: Manifest
  selection: FinishedSelection
}

async function gradientsOf(
  context: Context,
  {
    options,
    manifest,
    selection,
    recording,
    versions,
    pretrained,
  }: Parts & { recording: Manifest['stages'][number]; versions: Record<string, string>; pretrained?: Pretrained },
): Promise<ComparedGradients | undefined> {
  const { clusters, source, hashes } = selection
  const [file, data, none] = clusters
    ? ['signals/clusters.npy', clusters.data, NO_CLUSTER]
    : ['signals/source.npy', source?.data, undefined]
  if (data === undefined) {
    notify(context, {
      code: 'no-groups',
      message: 'the run has neither clusters nor sources, so there are no groups whose gradients could be compared',
    })
    return undefined
  }
  const tokens = stageOf(manifest, 'tokens') as Manifest['stages'][number]
  const tokensHash = (await intactFile(context.run, tokens, 'tokens.bin')).sha256
  using store = openTokenStore(context.run.path('tokens.bin'))
  const sources: GradientSources = {
    recording,
    rows: store,
    tokensHash,
    groups: { data, none, hash: hashes[file] },
    recompute: manifest.config.recompute === true,
  }
  if (pretrained !== undefined)
    sources.lora = {
      rank: manifest.config.lora as number,
      frozen: () => pretrained.weights(),
      hash: pretrained.hash,
    }
  return await compareGradients(context, sources, {
    sample: options.sample,
    checkpoints: options.checkpoints,
    seed: context.options.seed,
    maxLength: context.options.maxLength,
    onnxruntime: versions['onnxruntime-node'] ?? '',
    bytes: memoryBytes(options.memoryLimit) ?? GRADIENT_BYTES,
  })
}
