import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { Database } from '../../src/dataset/parquet.ts'
import { WinnowError } from '../../src/errors.ts'
import type { SelectOptions } from '../../src/pipeline/options.ts'
import { planSelect } from '../../src/pipeline/plan.ts'
import { score } from '../../src/pipeline/score.ts'
import { select } from '../../src/pipeline/select.ts'
import { readNpy, writeNpy } from '../../src/signals/npy.ts'
import { CHAT_TEMPLATE, tinyModel } from './models.ts'
import { directory, poolLines, writePool } from './pools.ts'

/** Methods without checkpoints. */
const WITHOUT = ['rds', 'tapt-knn', 'longest', 'random']

function prepared(lines = poolLines({ svamp: 22, gsm8k: 2 })) {
  const home = directory()
  const pool = join(home, 'pool.jsonl')
  writePool(pool, lines)
  const model = tinyModel(join(home, 'model'), { config: { max_position_embeddings: 192 }, scale: 3 })
  let outs = 0
  const options = (more: Partial<SelectOptions> = {}): SelectOptions => ({
    ...{ pool: [pool], budget: '8', out: join(home, `out-${outs++}.jsonl`), run: join(home, 'run') },
    ...{ proxy: model, epochs: 2, learningRate: 1e-3, threads: 1 },
    ...more,
    methodOptions: WITHOUT.includes(more.method ?? '') ? {} : { checkpoints: 3, ...more.methodOptions },
  })
  const run = (more: Partial<SelectOptions> = {}) => select(options(more), { ort })
  return { home, pool, lines, model, options, run }
}

type Row = Record<string, number | boolean | null>
async function table(path: string): Promise<Row[]> {
  await using database = await Database.open()
  return (await database.connection.runAndReadAll(`SELECT * FROM '${path}'`)).getRowObjectsJson() as unknown as Row[]
}

async function faultOf(work: () => Promise<unknown>) {
  const error = await work().then(
    () => undefined,
    (reason) => reason,
  )
  expect(error).toBeInstanceOf(WinnowError)
  return (error as WinnowError).fault
}

/** Arrays of a signal, by the names of their files. */
function filesOf(home: string, signal: string, columns = 1): Float32Array[] {
  const folder = join(home, 'run/signals', signal)
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.npy'))
  return names.sort().map((name) => {
    const data = readNpy(readFileSync(join(folder, name))).data as Float32Array
    return data.subarray(0, data.length / columns)
  })
}
const computed = ({ stages }: Awaited<ReturnType<typeof select>>) =>
  stages.filter(({ cached }) => !cached).map(({ name }) => name)

function expectNear(found: Float32Array, expected: Float32Array) {
  expect(found.length).toBe(expected.length)
  found.forEach((value, row) => {
    expect(value, `row ${row}`).toBeCloseTo(expected[row], 4)
  })
}

describe('methods of one proxy', () => {
  it('share the recorded run: s2l, least confidence, middle perplexity, learnability and a curriculum train it once', async () => {
    const { run, home, model, pool } = prepared()
    const s2l = await run({ method: 's2l' })
    expect(computed(s2l)).toContain('trajectories')
    const [, , confidence] = filesOf(home, 'confidence')
    const end = ['select', 'write', 'report']

    expect(computed(await run({ method: 'least-confidence' }))).toEqual(end)
    const least = await table(join(home, 'run/selection.parquet'))
    least.forEach((row, i) => {
      expect(row.confidence).toBeCloseTo(confidence[i], 6)
      expect(confidence[i]).toBeGreaterThan(0)
      expect(confidence[i]).toBeLessThanOrEqual(1)
    })
    const edge = Math.max(...least.filter((row) => row.selected).map((row) => row.confidence as number))
    for (const row of least) if (!row.selected) expect(row.confidence).toBeGreaterThanOrEqual(edge)

    const middle = await run({ method: 'middle-perplexity', budget: '400tok' })
    expect(computed(middle)).toEqual(end)
    expect(middle.tokens.selected).toBeLessThanOrEqual(400)
    expect(readFileSync(middle.report, 'utf8')).toContain('a window around the middle was taken')

    expect(computed(await run({ method: 'high-learnability' }))).toEqual(['initial', ...end])
    const scored = join(home, 'scores.parquet')
    await score({ pool: [pool], proxy: model, out: scored, run: join(home, 'scored'), threads: 1 }, { ort })
    const untouched = await table(scored)
    const learned = await table(join(home, 'run/selection.parquet'))
    const [, , last] = filesOf(home, 'trajectories')
    learned.forEach(({ nll_before, nll_after, learnability }, row) => {
      expect(nll_before).toBeCloseTo(untouched[row].nll as number, 4)
      expect(nll_after).toBeCloseTo(last[row], 6)
      expect(learnability).toBeCloseTo((nll_before as number) - (nll_after as number), 6)
    })

    const curriculum = await run({ method: 'confidence-curriculum' })
    expect(computed(curriculum)).toEqual(end)
    const rows = await table(join(home, 'run/selection.parquet'))
    const schedule = readFileSync(join(home, 'run/schedule.jsonl'), 'utf8').trimEnd().split('\n')
    const written = readFileSync(curriculum.out.path, 'utf8').trimEnd().split('\n')
    const lines = readFileSync(pool, 'utf8').trimEnd().split('\n')
    expect(schedule).toHaveLength(8)
    expect(curriculum.notices.map(({ code }) => code)).toContain('schedule')
    schedule.forEach((line, place) => {
      const { order, row, record } = JSON.parse(line)
      expect(order).toBe(place)
      expect(rows[row]).toMatchObject({ order, selected: true })
      expect(written[record]).toBe(lines[row])
    })
    expect(computed(await run({ method: 'ifd', methodOptions: { checkpoint: 'late' } }))).toEqual([
      'unconditional',
      ...end,
    ])
    // It is of the curriculum, not of the selection that is there now.
    expect(existsSync(join(home, 'run/schedule.jsonl'))).toBe(false)
  }, 60_000)

  it('of a pretrained model ifd trains nothing', async () => {
    const { run, home } = prepared()
    const result = await run({ method: 'ifd' })
    expect(computed(result)).toEqual(['read', 'tokens', 'initial', 'unconditional', 'select', 'write', 'report'])
    const rows = await table(join(home, 'run/selection.parquet'))
    const chosen = rows.filter((row) => row.selected)
    expect(chosen).toHaveLength(result.selected)
    for (const { ifd, nll_response, nll_unconditional } of rows)
      expect(ifd).toBeCloseTo(Math.exp((nll_response as number) - (nll_unconditional as number)), 5)
    for (const { ifd } of chosen) expect(ifd).toBeLessThan(1)
    expect(readFileSync(result.report, 'utf8')).toContain('perplexity of its response given its prompt')
    expect(rows.some(({ ifd }) => (ifd as number) >= 1)).toBe(true)
    expect(readFileSync(result.report, 'utf8')).toContain('its prompt makes its response no likelier; instruction')
    expect(result.nll).toBeUndefined()
    const cold = await run({ method: 'least-confidence', methodOptions: { checkpoint: 'start' } })
    // The pass that ifd made gave the confidence too.
    expect(computed(cold)).toEqual(['select', 'write', 'report'])
  })

  it.each([
    ['nano', { proxy: 'nano', epochs: undefined, learningRate: undefined }, ['1', 'late']],
    ['a pretrained model', {}, ['start', 'late']],
    ['a model with adapters', { lora: 2 }, ['start', 'late']],
  ] as const)('with %s score a text without a prompt alone as it was scored in the pool', async (_, proxy, checkpoints) => {
    const story = 'Once upon a time there was a little girl who liked to play outside in the park. '
    const lines = Array.from({ length: 12 }, (_, i) => JSON.stringify({ text: `${i} ${story.slice(i)}` }))
    const { run, home } = prepared(lines)
    for (const checkpoint of checkpoints) {
      const asked = () => run({ ...proxy, method: 'ifd', methodOptions: { checkpoint } })
      // Its IFD is 1, give or take a rounding.
      await asked().catch((error) => expect(error.fault.code).toBe('nothing-selected'))
      const alone = filesOf(home, 'unconditional', 2).at(-1) as Float32Array
      const known =
        checkpoint === 'start'
          ? filesOf(home, 'initial', 2)[0]
          : filesOf(home, 'trajectories').at(checkpoint === 'late' ? -1 : 0)
      expectNear(alone, known as Float32Array)
      rmSync(join(home, 'run/signals/unconditional'), { recursive: true })
    }
  })

  it('refuses an early checkpoint of a model whose weights are not kept', async () => {
    const { run } = prepared()
    const asked = (checkpoint: string | number) => run({ method: 'ifd', methodOptions: { checkpoint } })
    expect(await faultOf(() => asked('early'))).toMatchObject({
      code: 'checkpoint-not-kept',
      expected: 'start or late',
    })
    expect(await faultOf(() => asked(2))).toMatchObject({ code: 'checkpoint-not-kept' })
    expect(await faultOf(() => asked(4))).toMatchObject({ code: 'no-such-checkpoint' })
  })

  it('leave out rows that the chat template refuses', async () => {
    const chats = Array.from({ length: 12 }, (_, i) => ({
      messages: [
        { role: 'user', content: i === 3 ? 'unspeakable' : `What is ${i} and ${i}?` },
        { role: 'assistant', content: `It is ${2 * i}.` },
      ],
    }))
    const { run, home } = prepared(chats.map((chat) => JSON.stringify(chat)))
    const proxy = tinyModel(join(home, 'chat'), { template: CHAT_TEMPLATE })
    for (const method of ['least-confidence', 'high-learnability', 'longest', 'random']) {
      const { selected } = await run({ method, proxy, onBadRow: 'skip', budget: '12' })
      expect(selected, method).toBe(11)
    }
  })
})

describe('imported scores', () => {
  const column = (values: number[], shape = [values.length, 1]) => writeNpy({ shape, data: Float32Array.from(values) })

  it('take the place of the proxy', async () => {
    const { run, home, lines } = prepared()
    const file = (name: string, values: number[], shape?: number[]) => {
      writeFileSync(join(home, name), column(values, shape))
      return join(home, name)
    }
    const ramp = lines.map((_, row) => (row + 1) / lines.length)
    const given = { proxy: undefined, epochs: undefined, learningRate: undefined, budget: '3' }
    const confidence = file('confidence.npy', ramp)
    const least = await run({ ...given, method: 'least-confidence', signals: { confidence } })
    expect(readFileSync(least.out.path, 'utf8').trimEnd().split('\n')).toEqual(lines.slice(0, 3))
    expect(computed(least)).toEqual(['read', 'tokenizer', 'tokens', 'import', 'select', 'write', 'report'])

    const trajectories = file('after.npy', ramp)
    const initial = file(
      'before.npy',
      ramp.map((value) => 3 * value),
      [lines.length],
    )
    const high = await run({ ...given, method: 'high-learnability', signals: { trajectories, initial } })
    expect(readFileSync(high.out.path, 'utf8').trimEnd().split('\n')).toEqual(lines.slice(-3))
    const unconditional = file(
      'alone.npy',
      ramp.map((value) => value + 1),
      [lines.length],
    )
    const ifd = await run({ ...given, method: 'ifd', signals: { trajectories, unconditional } })
    expect(ifd.selected).toBe(3)
    const { facts } = JSON.parse(readFileSync(join(home, 'run/manifest.json'), 'utf8'))
    expect(Object.keys(facts.imported).sort()).toEqual(['trajectories', 'unconditional'])

    const half = () => run({ ...given, method: 'high-learnability', signals: { trajectories } })
    expect(await faultOf(half)).toMatchObject({
      code: 'half-imported',
      expected: expect.stringContaining('initial=<file>'),
    })
    const wrong = file(
      'percent.npy',
      ramp.map((value) => 100 * value),
    )
    const over = () => run({ ...given, method: 'least-confidence', signals: { confidence: wrong } })
    expect(await faultOf(over)).toMatchObject({ code: 'not-a-probability', found: expect.stringContaining('row 0') })
    writeFileSync(
      join(home, 'two.npy'),
      writeNpy({ shape: [lines.length, 2], data: Float32Array.from([...ramp, ...ramp]) }),
    )
    const two = () => run({ ...given, method: 'ifd', signals: { trajectories, unconditional: join(home, 'two.npy') } })
    expect(await faultOf(two)).toMatchObject({ code: 'no-step', message: 'the array is not one of rows' })
    const both = () => run({ ...given, proxy: 'some/model', method: 'least-confidence', signals: { confidence } })
    expect(await faultOf(both)).toMatchObject({ code: 'two-loss-sources' })
  })
})

describe('a plan', () => {
  it('counts the passes that a method takes beside the recorded training, and no training where there is none', async () => {
    const { options } = prepared()
    const plan = (method: string, more: object = {}) =>
      planSelect(options({ method, methodOptions: { ...more } }), { ort })
    const least = await plan('least-confidence')
    const high = await plan('high-learnability')
    const names = (found: typeof least) => found.seconds.map(({ stage }) => stage)
    expect(names(least)).toEqual(['read, tokenise and write', 'train the proxy', 'score the pool 3 times'])
    expect(names(high)).toEqual([...names(least), 'score the pool before training'])
    expect(high.flops.training).toBe(least.flops.training)
    expect(high.flops.scoring).toBeCloseTo((4 / 3) * least.flops.scoring, -3)
    const ifd = await plan('ifd')
    expect(names(ifd)).toEqual(['read, tokenise and write', 'score the pool before training', 'score responses alone'])
    expect(ifd.flops.training).toBe(0)
    expect(ifd.proxy).toBeUndefined()
  })
})

describe('rds', () => {
  it('is tapt-knn over hidden states, and takes no other embedding', async () => {
    const { run, home, lines } = prepared()
    const target = join(home, 'target.jsonl')
    writePool(target, lines.slice(4, 7))
    const asked = { target: [target] }
    const rds = await run({ ...asked, method: 'rds', budget: '6' })
    const knn = await run({ ...asked, method: 'tapt-knn', embedding: 'proxy', budget: '6' })
    expect(rds.out.sha256).toBe(knn.out.sha256)
    const other = () => run({ ...asked, method: 'rds', embedding: 'ngrams' })
    expect(await faultOf(other)).toMatchObject({ code: 'other-embedding', path: '--embedding', found: 'ngrams' })
  })
})
