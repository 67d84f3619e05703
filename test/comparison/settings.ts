/** A small comparison on real records. */

import { join } from 'node:path'
import type { CompareOptions } from '../../src/comparison/options.ts'
import { directory, poolLines, writePool } from '../pipeline/pools.ts'

/** 66 rows in a directory of their own, 10 others to test on, two methods, budgets and seeds, three steps of a nano of 64 x 1. */
export function setting(more: Partial<CompareOptions> = {}): CompareOptions & { home: string; run: string } {
  const home = directory()
  writePool(join(home, 'pool.jsonl'), poolLines({ svamp: 60, gsm8k: 6 }))
  writePool(join(home, 'test.jsonl'), poolLines({ svamp: 90, gsm8k: 0 }).slice(80))
  return {
    ...{ home, pool: [join(home, 'pool.jsonl')], run: join(home, 'run'), test: [join(home, 'test.jsonl')] },
    ...{ methods: ['random', 's2l'], budgets: ['20%', '50%'], seeds: 2, steps: 3, targetModel: 'nano:64x1' },
    ...{ proxy: 'nano:64x1', threads: 1, set: { checkpoints: '2', clusters: '3' } },
    ...more,
  }
}
