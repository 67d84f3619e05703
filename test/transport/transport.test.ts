import { describe } from 'vitest'
import { referenceScores, referenceSinkhorn } from '../../src/transport/reference.ts'
import { openScorer } from '../../src/transport/scorer.ts'
import { sinkhorn } from '../../src/transport/sinkhorn.ts'
import { gatheredThreads } from '../parallel/gathered.ts'
import { type Implementation, transportCases } from './transport.cases.ts'

const kernels = (threads: number, memoryLimit?: number): Implementation => {
  const parallel = threads === 1 ? undefined : gatheredThreads(threads)
  return {
    solve: (problem, options) => sinkhorn(problem, { ...options, parallel, memoryLimit }),
    score: async (solved, block) => {
      await using scorer = await openScorer(solved, { parallel })
      return await scorer.score(block)
    },
  }
}

describe('the reference', () => transportCases({ solve: referenceSinkhorn, score: referenceScores }))
describe('the kernel, stored', () => transportCases(kernels(1)))
describe('the kernel, computed anew in every iteration', () => transportCases(kernels(1, 0)))
