/** Which stages a `select` runs, in order: what progress counts. */

import type { SignalNeed } from '../methods/method.ts'
import type { StageName } from './events.ts'
import { readsEmbeddings, readsTarget } from './target-options.ts'

export interface StageFacts {
  /** Names of the signals that are imported. */
  imports: readonly string[]
  /** Whether the proxy is a pretrained model. */
  pretrained: boolean
  /** Of the target options, where the method reads embeddings. */
  embedding?: string
}

const opensEncoder = ({ embedding }: StageFacts) =>
  embedding !== undefined && embedding !== 'ngrams' && embedding !== 'proxy'

/** The stages of the signals that are needed, between reading the pool and choosing from it. */
export function plannedStages(needs: readonly SignalNeed[], facts: StageFacts): StageName[] {
  const { imports, pretrained } = facts
  return [
    ...(readsEmbeddings(needs) && opensEncoder(facts) ? (['encoder'] as const) : []),
    ...(readsTarget(needs) ? (['target'] as const) : []),
    'read',
    ...(pretrained ? [] : (['tokenizer'] as const)),
    'tokens',
    ...needs.flatMap((need) => stagesOf(need, facts)),
    'select',
    ...(needs.some(({ signal }) => signal === 'potential') ? (['near'] as const) : []),
    'write',
    'report',
  ] satisfies StageName[]

  function stagesOf(need: SignalNeed, { embedding }: StageFacts): StageName[] {
    switch (need.signal) {
      case 'tokens':
      case 'source':
      case 'lengths':
        return []
      case 'trajectories':
      case 'confidence':
        return imports.includes(need.signal) ? ['import'] : pretrained ? ['trajectories'] : ['bigram', 'trajectories']
      case 'initial':
      case 'initial_confidence':
        return imports.includes(need.signal) ? ['import'] : ['initial']
      case 'unconditional':
        return imports.includes(need.signal) ? ['import'] : ['unconditional']
      case 'embeddings': {
        const nano: StageName[] = pretrained ? [] : ['bigram', 'trajectories']
        const model: StageName[] = embedding === 'ngrams' ? ['ngrams'] : embedding === 'proxy' ? nano : []
        return [...model, 'embeddings', ...(need.only === 'pool' ? [] : (['target-embeddings'] as const))]
      }
      case 'distance':
        return ['domains']
      case 'potential':
        return ['transport', 'scores']
      case 'redundancy':
        return ['cells', 'redundancy']
      case 'order':
        return ['neighbours']
      default:
        return [need.signal]
    }
  }
}
