/** The plan of a warm-up as data: both stages with their rows, recipe and schedule, so that another trainer can run them. */

import { readdir, unlink } from 'node:fs/promises'
import { join, relative, resolve, sep } from 'node:path'
import { writeFileAtomic } from '../runs/files.ts'
import { loraScale } from '../training/lora.ts'
import { type Context, notify } from './context.ts'
import type { WarmupSection } from './events.ts'
import { type DataFile, writePlanData } from './plan-data.ts'
import type { Pretrained } from './pretrained.ts'
import { rowsPerStep } from './proxy.ts'
import type { StageCounts, StageRows } from './warmup-data.ts'
import type { ResolvedWarmupOptions } from './warmup-options.ts'
import { recipes } from './warmup-recipes.ts'

/** plan.json. Paths are relative to its directory. */
export interface WarmupPlan {
  format: 'winnow-warmup-plan'
  formatVersion: 1
  model: {
    /** As asked for. */
    name: string
    kind: 'hub' | 'directory'
    /** Hub id, or the directory. */
    id: string
    /** Hub only: commit of 40 hex digits. */
    revision?: string
    /** sha256 over the sha256 of all files that were read. */
    hash: string
    family: string
    parameters: number
    /** How records become tokens: by the model's chat template, its role markers, or as plain text. */
    layout: 'template' | 'markers' | 'plain'
  }
  seed: number
  /** Low-rank adapters, with which the second stage goes on; absent where the weights are trained. */
  adapters?: { rank: number; alpha: number; dropout: 0; modules: string[] }
  optimiser: {
    name: 'adamw'
    beta1: number
    beta2: number
    epsilon: number
    weightDecay: number
    /** Gradients are clipped at this global norm. */
    maximumNorm: number
  }
  /** Linear warm-up from 0, then half a cosine to 0; begun anew in each stage, as are the moments. */
  schedule: 'cosine'
  /** In their order. */
  stages: WarmupPlanStage[]
}

export interface WarmupPlanStage extends StageCounts {
  name: 'warmup' | 'task'
  /** What it begins from. */
  from: 'model' | 'warmup'
  /** Of each row, cut at `maximumLength`. */
  loss: 'every token but the first' | 'tokens of responses'
  data: DataFile
  /** The files that the data were read from. */
  sources: { path: string; size: number; sha256: string; rows?: number; format: string }[]
  epochs: number
  /** Rows of a step on average: batches hold rows of like length. */
  rowsPerStep: number
  /** Most rows times length of a step. */
  tokensPerStep: number
  steps: number
  warmupSteps: number
  /** Peak of the schedule. */
  learningRate: number
  /** Tokens. */
  maximumLength: number
}

export interface WrittenPlan {
  /** plan.json. */
  path: string
  /** Names beside it. */
  files: string[]
}

interface Planned extends Record<WarmupSection, StageRows> {
  pretrained: Pretrained
  directory: string
}

/** Files that an earlier plan may have left. */
const OWN_FILE =
  /^(plan\.json|(pick|task)\.jsonl|dataset_info\.json|(trl|axolotl|llamafactory)-\d-(warmup|task)\.yaml)$/

/** Writes the plan's directory: the data, the recipes, and plan.json last. */
export async function writeWarmupPlan(
  context: Context<ResolvedWarmupOptions>,
  { pick, task, pretrained, directory }: Planned,
): Promise<WrittenPlan> {
  const started = performance.now()
  context.emit({ kind: 'stage-start', stage: 'plan', resumedParts: 0 })
  const { tokenizer } = pretrained
  const data = {
    pick: await writePlanData({ ...pick, tokenizer, directory, file: 'pick.jsonl', signal: context.signal }),
    task: await writePlanData({ ...task, tokenizer, directory, file: 'task.jsonl', signal: context.signal }),
  }
  const plan = planOf(context, { pick, task, pretrained, directory }, data)
  const texts = { ...recipes(plan), 'plan.json': `${JSON.stringify(plan, null, 2)}\n` }
  for (const [name, text] of Object.entries(texts)) await writeFileAtomic(join(directory, name), text)
  const files = [data.pick.file, data.task.file, ...Object.keys(texts)]
  for (const name of await readdir(directory))
    if (OWN_FILE.test(name) && !files.includes(name)) await unlink(join(directory, name))
  if (Object.keys(texts).length === 1)
    notify(context, {
      code: 'no-recipes',
      message:
        tokenizer.layout === 'markers'
          ? "the model's role markers are winnow's own, so the plan has no recipes for other trainers"
          : 'other trainers have no form for what is trained of the task, so the plan has no recipes for them',
    })
  const seconds = (performance.now() - started) / 1000
  context.stages.push({ name: 'plan', seconds, cached: false })
  context.emit({ kind: 'stage-end', stage: 'plan', cached: false, seconds, summary: directory })
  return { path: join(directory, 'plan.json'), files }
}

function planOf(
  { options, run }: Context<ResolvedWarmupOptions>,
  { pick, task, pretrained, directory }: Planned,
  data: Record<WarmupSection, DataFile>,
): WarmupPlan {
  const { model, files, hash, name, tokenizer } = pretrained
  const { kind, id, revision } = files.source
  const { optimiser, choices } = pick.proxy
  const { lora } = choices
  const parameters = model.parameters.reduce((total, { shape }) => total + shape.reduce((a, b) => a * b, 1), 0)
  const stage = (rows: StageRows, section: WarmupSection): WarmupPlanStage => {
    const { recipe } = rows.proxy
    const { steps } = rows.plan
    return {
      name: section === 'pick' ? 'warmup' : 'task',
      from: section === 'pick' ? 'model' : 'warmup',
      loss: section === 'pick' ? 'every token but the first' : 'tokens of responses',
      data: data[section],
      sources: rows.dataset.inputs.map(({ path, format }) => {
        const found = run.manifest.inputs.find((input) => input.path === path)
        return { ...(found as { path: string; size: number; sha256: string; rows?: number }), format: format.name }
      }),
      ...rows.counts,
      epochs: recipe.epochs,
      rowsPerStep: rowsPerStep(rows.context.options.training, rows.counts.rows),
      tokensPerStep: recipe.tokensPerBatch,
      steps,
      warmupSteps: Math.ceil(steps * recipe.warmupShare),
      learningRate: recipe.rate,
      maximumLength: recipe.maxLength,
    }
  }
  return {
    format: 'winnow-warmup-plan',
    formatVersion: 1,
    model: {
      ...{ name, kind, id: kind === 'hub' ? id : pathFrom(directory, files.directory), revision, hash },
      ...{ family: model.family, parameters, layout: tokenizer.layout },
    },
    seed: options.seed,
    adapters: lora && {
      rank: lora.rank,
      alpha: loraScale(lora) * lora.rank,
      dropout: 0,
      modules: [...new Set(model.linears.map(({ module }) => module.split('.').at(-1) as string))],
    },
    optimiser: {
      name: 'adamw',
      beta1: optimiser.beta1 ?? 0.9,
      beta2: optimiser.beta2 ?? 0.999,
      epsilon: optimiser.epsilon ?? 1e-8,
      weightDecay: optimiser.weightDecay ?? 0,
      maximumNorm: optimiser.maxNorm ?? 1,
    },
    schedule: 'cosine',
    stages: [stage(pick, 'pick'), stage(task, 'task')],
  }
}

/** A directory as it is named in another: with `./` or `../`, so that nobody takes it for a hub id. */
function pathFrom(directory: string, path: string): string {
  const near = relative(resolve(directory), resolve(path)).split(sep).join('/')
  return near.startsWith('../') || near.startsWith('/') ? near : `./${near}`
}
