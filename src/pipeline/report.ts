/** Gathers a run's report from what lies in its directory. */

import type { Dataset } from '../dataset/dataset.ts'
import type { Turn } from '../dataset/record.ts'
import { type ReportData, selectedFlags } from '../report/data.ts'
import { buildReport } from '../report/report.ts'
import { shownRows, shownTargets } from '../report/samples.ts'
import { writeFileAtomic } from '../runs/files.ts'
import { NO_CLUSTER } from '../signals/clusters.ts'
import type { Context } from './context.ts'
import type { ResolvedOptions } from './options.ts'
import type { Pool, Tokens } from './pool.ts'
import type { Pretrained } from './pretrained.ts'
import { targetFacts, targetReport } from './report-target.ts'
import type { Chosen } from './selection.ts'
import type { ComputedSignals } from './signals.ts'
import type { Target } from './target.ts'

/** Characters of a text that the page keeps at most; it shows fewer. */
const TEXT_LENGTH = 4000

export async function writeReport(
  context: Context<ResolvedOptions>,
  parts: {
    dataset: Dataset
    pool: Pool
    tokens: Tokens
    computed: ComputedSignals
    chosen: Chosen
    pretrained?: Pretrained
    target?: Target
    /** Of the picked rows that were compared, those that are near another. */
    nearDuplicates?: { near: number; compared: number }
  },
): Promise<string> {
  const { run } = context
  const path = run.path('report.html')
  const started = performance.now()
  context.emit({ kind: 'stage-start', stage: 'report', resumedParts: 0 })
  const data = reportData(context, parts)
  const texts = await readTexts(parts.dataset, shownRows(data))
  const target = data.target &&
    parts.target && { ...data.target, texts: await readTexts(parts.target.dataset, shownTargets(data)) }
  await writeFileAtomic(path, buildReport({ ...data, texts, target }))
  const seconds = (performance.now() - started) / 1000
  context.stages.push({ name: 'report', seconds, cached: false })
  context.emit({ kind: 'stage-end', stage: 'report', cached: false, seconds })
  return path
}

function reportData(
  { options, run, device, notices, stages }: Context<ResolvedOptions>,
  parts: Parameters<typeof writeReport>[1],
): Omit<ReportData, 'texts'> {
  const { pool, tokens, computed, chosen, pretrained, target, nearDuplicates } = parts
  const { rows } = pool.facts
  const ofTarget = { options, rows, computed, chosen, target }
  const { trajectories, imported, signals } = computed
  const cluster = signals.clusters
  const clusterCount = cluster ? (cluster.provenance.clusters as number) : 0
  const quarantined = cluster ? Array.from(cluster.data.keys()).filter((row) => cluster.data[row] === NO_CLUSTER) : []
  return {
    title: options.pool.join(', '),
    command: options.command,
    finishedAt: new Date().toISOString(),
    run: {
      method: options.method.name,
      options: options.methodOptions as Record<string, string | number | boolean>,
      budget: options.budget.text,
      seed: options.seed,
      device: device.name,
      proxy: trajectories && {
        name: options.proxy,
        parameters: trajectories.facts.parameters,
        tokenizer: pretrained ? "the model's own" : 'byte-level BPE trained on the pool',
        vocabularySize: tokens.tokenizer.vocabularySize,
        steps: trajectories.facts.steps.at(-1),
        trainedTokens: trajectories.facts.trainedTokens,
        nll: trajectories.facts.nll,
        bigramNll: trajectories.bigramNll,
      },
      imported: imported?.facts,
      facts: targetFacts(ofTarget, nearDuplicates),
      timings: stages.map(({ name, seconds, cached }) => ({ stage: name, seconds, cached })),
      versions: run.manifest.versions,
      inputs: run.manifest.inputs.map(({ path, size, sha256, rows: inputRows }) => ({
        file: path,
        bytes: size,
        sha256,
        rows: inputRows,
      })),
    },
    rows: {
      count: rows,
      lengths: signals.tokens.data,
      selected: selectedFlags(rows, chosen.selected),
      source: pool.source && {
        codes: pool.source.data,
        names: (pool.source.labels ?? []).map((label) => label || '(none)'),
      },
    },
    ...targetReport(ofTarget),
    clusters: cluster && { count: clusterCount, assignment: cluster.data, labels: clusterLabels(chosen, clusterCount) },
    trajectories:
      (trajectories && { steps: trajectories.facts.steps, nll: trajectories.signal.data }) ??
      (imported?.signal.name === 'trajectories'
        ? { steps: imported.facts.used, nll: imported.signal.data }
        : undefined),
    quarantined:
      quarantined.length === 0
        ? undefined
        : {
            count: quarantined.length,
            shown: quarantined.slice(0, 5).map((row) => ({
              row,
              reason:
                signals.tokens.data[row] === 0
                  ? "the model's chat template refused it"
                  : imported
                    ? `no loss was recorded at some checkpoint in ${imported.facts.file}`
                    : 'the prompt fills the window, so no trained token is left',
            })),
          },
    bad: pool.facts.badCount === 0 ? undefined : { count: pool.facts.badCount, shown: pool.facts.bad },
    warnings: notices.map(({ message }) => message),
  }
}

/** `gsm8k / 3` where clusters were made inside each source. */
function clusterLabels({ groups }: Chosen, count: number): string[] | undefined {
  if (!groups.some(({ label }) => label !== undefined)) return undefined
  const labels = Array.from({ length: count }, (_, id) => String(id))
  const seen = new Map<string, number>()
  for (const { id, label } of groups) {
    if (label === undefined || id < 0) continue
    const next = (seen.get(label) ?? 0) + 1
    seen.set(label, next)
    labels[id] = `${label || '(none)'} / ${next}`
  }
  return labels
}

async function readTexts(dataset: Dataset, rows: Uint32Array): Promise<Map<number, string>> {
  const wanted = new Set(rows)
  const last = rows.at(-1) ?? -1
  const texts = new Map<number, string>()
  for await (const { records } of dataset.batches()) {
    for (const { row, turns } of records) if (wanted.has(row)) texts.set(row, plainText(turns).slice(0, TEXT_LENGTH))
    if ((records.at(-1)?.row ?? 0) >= last) break
  }
  return texts
}

function plainText(turns: readonly Turn[]): string {
  if (turns.every(({ role }) => role === 'text')) return turns.map(({ content }) => content).join('')
  return turns.map(({ role, content }) => `${role}: ${content}`).join('\n')
}
