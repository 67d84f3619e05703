/** The stage that counts topics and tests gradients, and writes the numbers down. */

import { readFile } from 'node:fs/promises'
import type { Analysis, ClusterTopics, GradientFacts } from '../analysis/data.ts'
import { gradientSimilarity } from '../analysis/gradient-similarity.ts'
import { topicShift, topicsOfClusters } from '../analysis/topics.ts'
import { varianceBetween } from '../analysis/variance.ts'
import type { Json } from '../runs/hash.ts'
import type { Manifest } from '../runs/manifest.ts'
import { NO_CLUSTER } from '../signals/clusters.ts'
import type { Signal } from '../signals/signal.ts'
import type { ResolvedAnalyseOptions } from './analyse-options.ts'
import { type Context, perform } from './context.ts'
import type { FinishedSelection } from './finished-run.ts'
import type { ComparedGradients } from './gradients.ts'

export interface AnalysisParts {
  options: ResolvedAnalyseOptions
  manifest: Manifest
  selection: FinishedSelection
  gradients?: ComparedGradients
}

/** Writes `analysis.json`, or takes it from the run. */
export async function writeAnalysis(
  context: Context,
  { options, manifest, selection, gradients }: AnalysisParts,
): Promise<Analysis> {
  const { seed } = context.options
  const { permutations } = options
  const asked = { method: manifest.config.method as string, budget: manifest.config.budget as string }
  await perform<Json>(context, {
    name: 'analysis',
    version: 1,
    inputs: { ...selection.hashes, ...(gradients && { gradients: gradients.hash }) },
    options: { ...asked, permutations, seed },
    async execute(work) {
      const { rows, selected } = selection
      const analysis: Analysis = {
        ...asked,
        ...{ rows, selected: selected.length, seed, permutations },
        ...topicsOf(selection, { draws: permutations, seed }),
        ...(gradients && { gradients: tested(gradients, selection, { permutations, seed }) }),
      }
      return {
        outputs: [await work.write('analysis.json', `${JSON.stringify(analysis, null, 2)}\n`)],
        value: null,
      }
    },
    summary: () => 'analysis.json',
  })
  return JSON.parse(await readFile(context.run.path('analysis.json'), 'utf8')) as Analysis
}

/** Nothing where rows name no source, or all the same one. */
function topicsOf(
  { source, clusters, selected }: FinishedSelection,
  asked: { draws: number; seed: number },
): Pick<Analysis, 'topics' | 'clusters'> {
  if (source === undefined) return {}
  const names = topicNames(source)
  if (names.length < 2) return {}
  const of = { topics: source.data, topicCount: names.length, ...asked }
  return {
    topics: { names, ...topicShift({ ...of, selected }) },
    ...(clusters && { clusters: clusterTopics(clusters, selected, names, of) }),
  }
}

const topicNames = ({ labels = [] }: Signal) => labels.map((label) => label || '(none)')

function clusterTopics(
  clusters: Signal,
  selected: Uint32Array,
  names: readonly string[],
  of: { topics: ArrayLike<number>; topicCount: number; draws: number; seed: number },
): ClusterTopics {
  const found = topicsOfClusters({ ...of, assignment: clusters.data, none: NO_CLUSTER })
  const picked = new Map<number, number>()
  for (const row of selected) picked.set(clusters.data[row], (picked.get(clusters.data[row]) ?? 0) + 1)
  return {
    top1: found.top1,
    commonest: found.commonest,
    list: found.clusters.map(({ cluster, rows, topic, share }) => ({
      ...{ cluster, rows, share },
      selected: picked.get(cluster) ?? 0,
      topic: names[topic],
    })),
  }
}

function tested(
  { rows, groups, parameters, dimensions, checkpoints }: ComparedGradients,
  { source, clusters }: FinishedSelection,
  asked: { permutations: number; seed: number },
): GradientFacts {
  const sources = source && topicNames(source).length > 1 && Uint32Array.from(rows, (row) => source.data[row])
  return {
    ...{ rows: rows.length, groups: new Set(groups).size, parameters, dimensions },
    groupedBy: clusters ? 'clusters' : 'sources',
    checkpoints: checkpoints.map(({ gram, slopes, ...at }) => {
      const test = (of: ArrayLike<number>, strata?: ArrayLike<number>) =>
        gradientSimilarity({ gram, groups: of, strata, ...asked })
      return {
        ...at,
        ...(clusters && { clusters: test(groups) }),
        ...(clusters && sources && { clustersWithinSource: test(groups, sources) }),
        ...(sources && { sources: test(sources) }),
        ...(slopes && {
          along: {
            ...(clusters && { clusters: varianceBetween({ values: slopes, groups, ...asked }) }),
            ...(sources && { sources: varianceBetween({ values: slopes, groups: sources, ...asked }) }),
          },
        }),
      }
    }),
  }
}
