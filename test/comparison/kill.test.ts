/** A comparison that is killed goes on cell by cell, to the same files. */

import { join } from 'node:path'
import { it } from 'vitest'
import { expectSame } from '../pipeline/kills.ts'
import { directory, poolLines, writePool } from '../pipeline/pools.ts'

it.each([
  false,
  true,
])('gives the same picks and scores after kills in signals, between cells and in the middle of one (targets kept: %s)', async (keepTargets) => {
  const home = directory()
  writePool(join(home, 'pool.jsonl'), poolLines({ svamp: 60, gsm8k: 4 }))
  writePool(join(home, 'test.jsonl'), poolLines({ svamp: 70, gsm8k: 0 }).slice(62))
  const options = (name: string) => ({
    ...{ pool: [join(home, 'pool.jsonl')], test: [join(home, 'test.jsonl')], run: join(home, `${name}.run`) },
    // A state after every step, so that a kill in the middle of a cell has something to go on from.
    ...{ methods: ['random', 's2l'], budgets: ['30%'], seeds: 1, steps: 8, threads: 1, stateSeconds: 0, keepTargets },
    ...{ proxy: 'nano:64x1', targetModel: 'nano:64x1', set: { checkpoints: '2', clusters: '3' } },
  })
  await expectSame(home, {
    command: 'compare',
    options,
    kills: [
      { stage: 'trajectories', kind: 'stage-progress', count: 5 },
      // In the first cell that trains, and a while later, when others are done.
      { stage: 'targets', kind: 'stage-progress', count: 5 },
      { stage: 'targets', kind: 'stage-progress', count: 14 },
      { stage: '', kind: '', count: 0, file: keepTargets ? 'targets/.*config.json' : 'cells/.*npy' },
    ],
  })
}, 300_000)
