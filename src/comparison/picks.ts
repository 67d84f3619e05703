/** Every method's pick at every budget and seed, from signals that are computed once and shared, and what each method cost. */

import { WinnowError } from '../errors.ts'
import type { SelectionCost } from '../evaluation/comparison.ts'
import type { ResolvedBudget } from '../methods/budget.ts'
import type { Notice } from '../methods/method.ts'
import { type Context, notify, type StageTime } from '../pipeline/context.ts'
import type { OnEvent } from '../pipeline/events.ts'
import { needsOf, type ResolvedOptions } from '../pipeline/options.ts'
import { mostCheckpoints } from '../pipeline/recording.ts'
import { type ComputedSignals, checkNeeds, computeSignals, type SignalSources } from '../pipeline/signals.ts'
import { writeFileAtomic } from '../runs/files.ts'
import { writeNpy } from '../signals/npy.ts'
import { askingOf, type CompareOptions, entryOptions, type ResolvedCompareOptions } from './options.ts'
import type { Entry } from './specification.ts'
import { pickRows } from './target-model.ts'

export interface Pick {
  /** Of the method. */
  label: string
  /** Index of the budget. */
  budget: number
  seed: number
  /** Ascending rows of the pool. */
  selected: Uint32Array
}

export interface Picked {
  picks: Pick[]
  budgets: ResolvedBudget[]
  costs: SelectionCost[]
  /** Labels of methods whose pick is the same for every seed. */
  deterministic: Set<string>
}

interface Source extends Omit<SignalSources, 'budget'> {
  asked: CompareOptions
}

/**
 * Computes the signals of each method for the largest budget; smaller ones read the same, but for transport problems, whose candidates depend on
 * the budget. Stages that several methods read are computed by the first that comes to them.
 */
export async function pickAll(
  context: Context<ResolvedCompareOptions>,
  source: Source,
  budgets: ResolvedBudget[],
): Promise<Picked> {
  const { options } = context
  const { pool } = source
  const sizes = pickRows(budgets, { rows: pool.facts.rows, tokens: source.perRow.total })
  const falling = [...budgets.keys()].sort((a, b) => sizes[b] - sizes[a])
  const emit = onceEach(context.emit)
  const used: { label: string; stages: StageTime[]; own: number }[] = []
  const picks: Pick[] = []
  const deterministic = new Set(options.entries.map(({ label }) => label))
  const told: Told = new Map()
  // One training run of the proxy serves methods that read it at different numbers of checkpoints.
  const asking = options.entries.map((entry) => askingOf(options, source.asked, entry, options.budgets[0]))
  const recording = { checkpoints: Math.max(1, mostCheckpoints(asking)), columns: 'even' as const }
  for (const entry of options.entries) {
    const stages: StageTime[] = []
    let own = 0
    let computed: ComputedSignals | undefined
    for (const [place, b] of falling.entries()) {
      const budget = budgets[b]
      const mine: Context<ResolvedOptions> = {
        ...context,
        options: { ...entryOptions(options, source.asked, entry, options.budgets[b]), recording },
        emit,
        stages: [],
      }
      const needs = needsOf(mine.options)
      if (computed === undefined || needs.some(({ signal }) => signal === 'potential')) {
        checkNeeds(entry.method.name, needs, { rows: pool.facts.rows, sources: pool.source !== undefined })
        computed = await computeSignals(mine, needs, { ...source, budget })
        // What a method costs is told of its largest budget.
        if (place === 0) stages.push(...mine.stages)
      }
      const started = performance.now()
      const drawn = options.seeds.map((seed) =>
        draw(mine, entry, { computed: computed as ComputedSignals, budget, seed, told }),
      )
      if (place === 0) own = (performance.now() - started) / 1000 / options.seeds.length
      for (const [i, selected] of drawn.entries())
        picks.push({ label: entry.label, budget: b, seed: options.seeds[i], selected })
      if (drawn.length < 2 || !drawn.every((rows) => sameRows(rows, drawn[0]))) deterministic.delete(entry.label)
    }
    context.stages.push(...stages)
    used.push({ label: entry.label, stages, own })
  }
  for (const { notice, labels } of told.values())
    notify(context, { ...notice, message: `${[...labels].join(', ')}: ${notice.message}` })
  await keepPicks(context, picks)
  return { picks, budgets, costs: costsOf(used), deterministic }
}

const sameRows = (a: Uint32Array, b: Uint32Array) => a.length === b.length && a.every((row, i) => row === b[i])

/** What methods have to say, and which of them say it: many say the same. */
type Told = Map<string, { notice: Notice; labels: Set<string> }>

interface Draw {
  computed: ComputedSignals
  budget: ResolvedBudget
  seed: number
  told: Told
}

/** @throws {WinnowError} `nothing-selected`. */
function draw(context: Context<ResolvedOptions>, entry: Entry, { computed, budget, seed, told }: Draw): Uint32Array {
  const { signals } = computed
  const { method, label } = entry
  const { selected, notices } = method.select({
    ...{ rows: signals.tokens.rows, budget, signals, options: entry.options, seed },
  })
  for (const notice of notices) {
    const known = told.get(notice.message)
    if (known === undefined) told.set(notice.message, { notice, labels: new Set([label]) })
    else known.labels.add(label)
  }
  if (selected.length === 0)
    throw new WinnowError('input', {
      code: 'nothing-selected',
      message: `${label} selects no row that fits the budget`,
      path: '--budgets',
      found: context.options.budget.text,
      hint: notices.map(({ message }) => `${message}.`).join(' ') || 'Ask for a larger budget.',
    })
  return selected
}

/** Every pick as a file of rows: `picks/s2l/10%/seed-0.npy`. */
async function keepPicks({ run, options }: Context<ResolvedCompareOptions>, picks: readonly Pick[]): Promise<void> {
  for (const { label, budget, seed, selected } of picks)
    await writeFileAtomic(
      run.path(pickFile(label, options.budgets[budget].text, seed)),
      writeNpy({ shape: [selected.length], data: selected }),
    )
}

/** Options behind a method's name may hold anything: what a file system may not take is written as `_`. */
export const pickFile = (label: string, budget: string, seed: number): string =>
  `picks/${label.replaceAll(/[^\w@%.=-]/g, '_')}/${budget.replaceAll(/[^\w%.]/g, '_')}/seed-${seed}.npy`

/** A stage that was told of is told of once more only where it is computed again. */
function onceEach(emit: OnEvent): OnEvent {
  const told = new Set<string>()
  return (event) => {
    if (event.kind === 'stage-end') {
      if (event.cached && told.has(event.stage)) return
      told.add(event.stage)
    }
    emit(event)
  }
}

/** Seconds of each method's signals as if it had been run alone, and who reads them too. */
function costsOf(used: readonly { label: string; stages: StageTime[]; own: number }[]): SelectionCost[] {
  const readers = new Map<string, string[]>()
  for (const { label, stages } of used)
    for (const key of new Set(stages.map(({ key }) => key as string)))
      readers.set(key, [...(readers.get(key) ?? []), label])
  return used.map(({ label, stages, own }) => {
    const distinct = [...new Map(stages.map((stage) => [stage.key as string, stage])).values()]
    return {
      method: label,
      seconds: own + distinct.reduce((total, { seconds }) => total + seconds, 0),
      flops: 0,
      signals: distinct.map(({ name, key, seconds }) => ({
        ...{ name, seconds, flops: 0 },
        sharedWith: (readers.get(key as string) as string[]).filter((other) => other !== label),
      })),
    }
  })
}
