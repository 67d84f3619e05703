/** `ablate`: one selection in several ways, and how much the picks have in common. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type AblatedPick, type Ablation, ANOTHER_DRAW } from '../analysis/ablation.ts'
import { adjustedRand } from '../analysis/agreement.ts'
import { type NamedPick, overlapTable } from '../analysis/overlap.ts'
import { openDataset } from '../dataset/dataset.ts'
import type { DeviceName } from '../engine/session.ts'
import type { Notice } from '../methods/method.ts'
import { buildAblation } from '../report/ablation.ts'
import { writeFileAtomic } from '../runs/files.ts'
import { readManifest } from '../runs/manifest.ts'
import { NO_CLUSTER } from '../signals/clusters.ts'
import { readNpy } from '../signals/npy.ts'
import { type AblateOptions, resolveAblation } from './ablate-options.ts'
import type { PipelineContext } from './pool-options.ts'
import type { SelectResult } from './result.ts'
import { mustBeRunOf, select } from './select.ts'

export interface AblateContext extends PipelineContext {
  /** A selection begins: its name, its place from 1, and how many there are. */
  onVariation?: (name: string, place: number, count: number) => void
}

export interface AblateResult extends Ablation {
  run: string
  /** The page and the numbers of it, files of the run. */
  report: string
  file: string
  notices: Notice[]
  device: DeviceName
  seconds: number
}

/** Stages that every selection has, whatever picks: they say nothing of what it costs to choose. */
const COMMON_STAGES = ['target', 'read', 'tokenizer', 'tokens', 'write', 'near', 'report', 'model', 'encoder', 'bigram']

/**
 * Selects with the base options and with each variation, in one run directory: what they have in common is computed once, the proxy trained once for
 * all lengths of trajectories. Writes each pick's records, `ablation.json` and `ablation.html` there. The base comes last, so that the
 * directory is left as its run.
 *
 * A killed command goes on with what was finished. Same pool, options and seed on the cpu device: the same table.
 *
 * @throws {WinnowError} as `resolveAblation` and `select`; `signal.reason` when aborted.
 */
export async function ablate(asked: AblateOptions, pipeline: AblateContext): Promise<AblateResult> {
  const started = performance.now()
  const { onVariation, ...context } = pipeline
  const { run, variations } = resolveAblation(asked)
  // Picks lie in the run's own folder and may be replaced; another pool's run may not.
  if (asked.overwrite !== true) await mustBeRunOf(run, await openDataset(asked.pool, asked))
  const done = new Map<string, Done>()
  const [base, ...others] = variations
  // The other draw beside the base, so that clusters of other options do not come between them.
  const apart = others.filter(({ name }) => name !== ANOTHER_DRAW)
  const order = [...apart, ...others.filter(({ name }) => name === ANOTHER_DRAW), base]
  for (const [i, { name, also, options }] of order.entries()) {
    onVariation?.(name, i + 1, order.length)
    const result = await select({ ...options, overwrite: true }, context)
    const rows = readNpy(await readFile(join(run, 'selection.npy'))).data as Uint32Array
    const clustered = result.stages.some((stage) => stage.name === 'clusters')
    const clusters = clustered ? readNpy(await readFile(join(run, 'signals/clusters.npy'))).data : undefined
    const stages = result.stages
      .filter((stage) => !COMMON_STAGES.includes(stage.name))
      .map(({ name, seconds, key, cached }) => ({ name, seconds, key, cached, shared: false }))
    done.set(name, {
      pick: { name, rows },
      told: {
        ...{
          name,
          also,
          method: options.method ?? 's2l',
          stages: stages.map(({ key: _key, cached: _cached, ...stage }) => stage),
        },
        ...{ selected: result.selected, tokens: result.tokens.selected, file: result.out.path },
        seconds: stages.reduce((total, { seconds }) => total + seconds, 0),
      },
      uses: stages,
      clusters,
      result,
    })
  }
  const all = variations.map(({ name }) => done.get(name) as Done)
  shareStages(all)
  const { result, clusters } = all[0]
  for (const { told, clusters: own } of all)
    if (clusters !== undefined && own !== undefined) told.agreement = adjustedRand(clusters, own, NO_CLUSTER)
  const ablation: Ablation = {
    ...{ budget: asked.budget, rows: result.rows },
    picks: all.map(({ told }) => told),
    overlap: overlapTable(
      result.rows,
      all.map(({ pick }) => pick),
    ),
  }
  const notices = unique(order.flatMap(({ name }) => done.get(name)?.result.notices ?? []))
  const [file, report] = [join(run, 'ablation.json'), join(run, 'ablation.html')]
  const { versions } = await readManifest(join(run, 'manifest.json'))
  await writeFileAtomic(file, `${JSON.stringify(ablation, null, 2)}\n`)
  await writeFileAtomic(
    report,
    buildAblation({
      ...{ ablation, versions, device: result.device, notices: notices.map(({ message }) => message) },
      title: asked.pool.join(', '),
      command: asked.command ?? 'winnow ablate',
    }),
  )
  return {
    ...ablation,
    ...{ run, report, file, notices, device: result.device },
    seconds: (performance.now() - started) / 1000,
  }
}

interface Done {
  pick: NamedPick
  told: AblatedPick
  /** Its stages, by key, and whether they were computed for it. */
  uses: { key?: string; cached: boolean }[]
  /** Cluster of each row, where the method has some. */
  clusters?: ArrayLike<number>
  result: SelectResult
}

/** Marks the stages whose result several picks have from one execution. (Where clusters of other options came between, they were computed again.) */
function shareStages(all: readonly Done[]): void {
  const uses = Map.groupBy(
    all.flatMap(({ told, uses }) => told.stages.map((stage, i) => ({ stage, ...uses[i] }))),
    ({ key }) => key,
  )
  for (const [key, used] of uses)
    if (key !== undefined && used.length > 1 && used.filter(({ cached }) => !cached).length < 2)
      for (const { stage } of used) stage.shared = true
}

/** What several selections tell alike is told once. */
const unique = (notices: readonly Notice[]): Notice[] => [
  ...new Map(notices.map((notice) => [notice.message, notice])).values(),
]
