import { describe, expect, it } from 'vitest'
import { WinnowError } from '../../src/errors.ts'
import { TRAINED_BIT } from '../../src/tokenizer/tokenizer.ts'
import { planBatches } from '../../src/training/batches.ts'
import type { Collated } from '../../src/training/collate.ts'
import { type LoopOptions, type Recipe, type Step, trainSteps } from '../../src/training/loop.ts'
import type { TokenRows } from '../../src/training/rows.ts'
import type { Trainer } from '../../src/training/trainer.ts'

/** 24 rows of 9 to 16 tokens, whose second half is trained; the first token says which row it is. */
const lengths = Uint32Array.from({ length: 24 }, (_, row) => 9 + ((row * 5) % 8))
const rows: TokenRows = {
  count: 24,
  lengths,
  labels: lengths.map((length) => length - (length >> 1)),
  read: (row) =>
    Uint32Array.from({ length: lengths[row] }, (_, j) =>
      j === 0 ? row : (1 + j + (j >= lengths[row] >> 1 ? TRAINED_BIT : 0)) >>> 0,
    ),
}
const recipe: Recipe = {
  ...{ epochs: 2, tokensPerBatch: 128, maxLength: 16 },
  ...{ rate: 1e-3, warmupShare: 0, floorShare: 0 },
}
const trainOn = Uint32Array.from(lengths.keys())
const steps = [0, 1].reduce(
  (total, epoch) =>
    total + planBatches(lengths, { ...recipe, rows: trainOn, shuffle: { seed: 3, epoch } }).batches.length,
  0,
)

const outOfMemory = new WinnowError('failure', { code: 'out-of-memory', message: 'no memory' })

/** Takes passes of at most `memory` tokens, and remembers what it was given. */
function fakeTrainer(memory = Number.POSITIVE_INFINITY, error: unknown = outOfMemory) {
  const attempts: Collated[][] = []
  const taken: Collated[][] = []
  const trainer = {
    padding: { chunks: 1, least: 1 },
    async train(batch: Collated | readonly Collated[]) {
      const parts = [batch].flat() as Collated[]
      attempts.push(parts)
      if (parts.some(({ shape: [count, length] }) => count * (length + 1) > memory)) throw error
      taken.push(parts)
      return { loss: parts.length, norm: 1 }
    },
  } as unknown as Trainer
  return { trainer, attempts, taken }
}

async function all(trainer: Trainer, more: Partial<LoopOptions> = {}): Promise<Step[]> {
  const taken: Step[] = []
  const options = { trainer, rows, recipe, seed: 3, trainOn, steps, done: 0, ...more }
  for await (const step of trainSteps(options)) taken.push(step)
  return taken
}

/** Rows of each step, whatever its parts. */
const rowsOf = (taken: Collated[][]) =>
  taken.map((parts) =>
    parts
      .flatMap(({ tokens, shape: [count, length] }) => Array.from({ length: count }, (_, i) => tokens[i * length]))
      .sort((a, b) => a - b),
  )
const labelsOf = (parts: Collated[]) =>
  parts.reduce((total, { labelsPerRow }) => total + labelsPerRow.reduce((a, b) => a + b), 0)

describe('the steps of a run', () => {
  it('take every row once in each epoch, in an order of its own', async () => {
    const { trainer, taken } = fakeTrainer()
    const done = await all(trainer)
    expect(done.map(({ step }) => step)).toEqual(Array.from({ length: steps }, (_, i) => i + 1))
    const seen = rowsOf(taken)
    const [first, second] = [seen.slice(0, steps / 2), seen.slice(steps / 2)]
    for (const epoch of [first, second]) expect(epoch.flat().sort((a, b) => a - b)).toEqual(Array.from(trainOn))
    expect(first).not.toEqual(second)
    expect(done.reduce((total, { tokens }) => total + tokens, 0)).toBe(2 * lengths.reduce((a, b) => a + b))
  })

  it('go on where a run stopped: those before are passed over, those after are the same', async () => {
    const [whole, resumed] = [fakeTrainer(), fakeTrainer()]
    await all(whole.trainer)
    const passed = await all(resumed.trainer, { done: 2 })
    expect(passed.map(({ loss }) => loss === undefined)).toEqual(Array.from({ length: steps }, (_, i) => i < 2))
    expect(resumed.taken).toEqual(whole.taken.slice(2))
  })

  it('compute a batch in parts of a pass, with the same rows and labels', async () => {
    const [whole, cut] = [fakeTrainer(), fakeTrainer()]
    await all(whole.trainer)
    await all(cut.trainer, { recipe: { ...recipe, microBatch: 40 } })
    expect(cut.taken.some((parts) => parts.length > 1)).toBe(true)
    for (const { shape } of cut.taken.flat()) expect(shape[0] * shape[1]).toBeLessThanOrEqual(40)
    expect(rowsOf(cut.taken)).toEqual(rowsOf(whole.taken))
    expect(cut.taken.map(labelsOf)).toEqual(whole.taken.map(labelsOf))
  })
})

describe('a pass that does not fit into memory', () => {
  it('is halved until it fits, once for the whole run, and no step is lost or taken twice', async () => {
    const [whole, small] = [fakeTrainer(), fakeTrainer(40)]
    await all(whole.trainer)
    const sizes: number[] = []
    const done = await all(small.trainer, { onSmallerParts: (tokens) => sizes.push(tokens) })
    expect(done.every(({ loss }) => loss !== undefined)).toBe(true)
    expect(rowsOf(small.taken)).toEqual(rowsOf(whole.taken))
    expect(sizes.length).toBeGreaterThan(1)
    expect(sizes).toEqual([...sizes].sort((a, b) => b - a))
    expect(sizes.at(-1)).toBeLessThanOrEqual(40)
    // Told as often as it failed: what was learned is kept for the steps after.
    expect(small.attempts.length).toBe(small.taken.length + sizes.length)
  })

  it('of a single row cannot be cut: the error is given on', async () => {
    await expect(all(fakeTrainer(10).trainer)).rejects.toBe(outOfMemory)
  })

  it('is told from other failures, which end the run at once', async () => {
    const lost = new WinnowError('failure', { code: 'device-lost', message: 'gone' })
    const { trainer, attempts } = fakeTrainer(40, lost)
    await expect(all(trainer)).rejects.toBe(lost)
    expect(attempts).toHaveLength(1)
  })
})
