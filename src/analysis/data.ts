/** What an analysis of a selection found, as plain data: what the page and the terminal draw. */

import type { SimilarityTest } from './gradient-similarity.ts'
import type { Chance, TopicShift } from './topics.ts'

export interface ClusterLine {
  cluster: number
  rows: number
  selected: number
  /** Its commonest topic, and the share of that. */
  topic: string
  share: number
}

export interface ClusterTopics {
  /** Rows that are of the commonest topic of their cluster. */
  top1: Chance
  /** Share of the commonest topic in all clustered rows. */
  commonest: number
  list: ClusterLine[]
}

export interface GradientsAtCheckpoint {
  /** From 1. */
  checkpoint: number
  step: number
  /** Mean NLL of the sample there, nats a token. */
  nll: number
  /** Rows of one cluster against rows of different ones. */
  clusters?: SimilarityTest
  /** The same among rows of one source. */
  clustersWithinSource?: SimilarityTest
  /** Rows of one source against rows of different ones: what topics alone tell. */
  sources?: SimilarityTest
  /** Slopes of the rows' losses along the way that the run went there; absent where only one checkpoint was kept. */
  along?: SlopesAlong
}

/** What S2L's bound is about: if losses fall alike, gradients agree along the way that training went. Shares of the slopes' variance between groups. */
export interface SlopesAlong {
  clusters?: Chance
  sources?: Chance
}

export interface GradientFacts {
  /** Rows compared, and groups they are from. */
  rows: number
  groups: number
  groupedBy: 'clusters' | 'sources'
  parameters: number
  /** Entries of the vectors that were compared: `parameters` where gradients were kept whole. */
  dimensions: number
  checkpoints: GradientsAtCheckpoint[]
}

export interface Analysis {
  method: string
  budget: string
  rows: number
  selected: number
  seed: number
  permutations: number
  clusters?: ClusterTopics
  topics?: { names: string[] } & TopicShift
  gradients?: GradientFacts
}
