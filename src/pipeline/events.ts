/** What a running pipeline tells whoever draws it. The pipeline never prints. */

import type { Notice } from '../methods/method.ts'

/** Which of its data a stage works on, in a run that has several: both sets of a warm-up; a comparison's target model, and its test sets. */
export type Section = WarmupSection | 'target' | `test${number}`
export type WarmupSection = 'pick' | 'task'

export type Step =
  | 'model'
  | 'read'
  | 'tokenizer'
  | 'tokens'
  | 'bigram'
  | 'trajectories'
  | 'initial'
  | 'unconditional'
  | 'import'
  | 'clusters'
  | 'target'
  | 'ngrams'
  | 'encoder'
  | 'embeddings'
  | 'target-embeddings'
  | 'copies'
  | 'domains'
  | 'transport'
  | 'scores'
  | 'distinct'
  | 'neighbours'
  | 'importance'
  | 'cells'
  | 'coverage'
  | 'spread'
  | 'redundancy'
  | 'select'
  | 'near'
  | 'write'
  | 'report'
  | 'score'
  | 'generate'
  | 'programs'
  | 'bertscore'
  | 'toxicity'
  | 'train'
  | 'save'
  | 'plan'
  | 'picks'
  | 'targets'
  | 'gradients'
  | 'analysis'

/** A step, or a step of one section: `tokens`, `pick-tokens`. */
export type StageName = Step | `${Section}-${Step}`

export interface StageProgress {
  /** Share of the stage that is done, in [0, 1]. */
  fraction: number
  /** What is being done, in a few words: `training, checkpoint 3 of 12`. */
  detail?: string
  /** Units done by this process since the stage began, for a rate: tokens, rows, bytes. */
  done?: number
  unit?: 'tokens' | 'rows' | 'bytes'
  /** Mean NLL of the latest steps, nats a token. */
  loss?: number
}

export type PipelineEvent =
  /** The stages that will run, in order, once they are known. */
  | { kind: 'plan'; stages: StageName[] }
  | { kind: 'stage-start'; stage: StageName; resumedParts: number }
  | { kind: 'stage-progress'; stage: StageName; progress: StageProgress }
  /** `cached`: taken from the run directory as it was. `summary`: one line of what came of it. */
  | { kind: 'stage-end'; stage: StageName; cached: boolean; seconds: number; summary?: string }
  /** Something the user should know; also in the manifest and the report. */
  | { kind: 'notice'; notice: Notice }

export type OnEvent = (event: PipelineEvent) => void
