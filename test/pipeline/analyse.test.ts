import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { GradientFacts } from '../../src/analysis/data.ts'
import { analyse } from '../../src/pipeline/analyse.ts'
import { type AnalyseOptions, checkpointColumns } from '../../src/pipeline/analyse-options.ts'
import type { PipelineEvent } from '../../src/pipeline/events.ts'
import { select } from '../../src/pipeline/select.ts'
import { train } from '../../src/pipeline/train.ts'
import { tinyModel } from './models.ts'
import { directory, poolLines, writePool } from './pools.ts'

const json = (...path: string[]) => JSON.parse(readFileSync(join(...path), 'utf8'))
const asked = { sample: 12, checkpoints: 'early,late', permutations: 99, device: 'cpu', threads: 1 } as const

describe('analyse', () => {
  let home = ''
  let analysis = Buffer.alloc(0)
  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'winnow-analyse-'))
    writePool(join(home, 'pool.jsonl'), poolLines({ svamp: 12, gsm8k: 4 }))
    await select(
      {
        ...{ pool: [join(home, 'pool.jsonl')], budget: '50%', out: join(home, 'out.jsonl'), run: join(home, 'run') },
        methodOptions: { checkpoints: 4, clusters: 4 },
        threads: 1,
      },
      { ort },
    )
    const run = join(home, 'analysed')
    cpSync(join(home, 'run'), run, { recursive: true })
    analysis = readFileSync((await analysed(run)).file)
  })
  afterAll(() => rmSync(home, { recursive: true, force: true }))

  /** A run directory of this test's own, as the selection left it. */
  function ownRun(): string {
    const run = join(directory(), 'run')
    cpSync(join(home, 'run'), run, { recursive: true })
    return run
  }
  function analysed(run: string, more: Partial<AnalyseOptions> = {}, onEvent?: (event: PipelineEvent) => void) {
    return analyse({ run, ...asked, ...more }, { ort, onEvent })
  }

  it('tells of clusters, topics and gradients, and leaves the manifest the selection’s', async () => {
    const run = join(home, 'analysed')
    const before = json(home, 'run/manifest.json')
    const result = await analysed(run)
    // Again: everything is kept, to the byte.
    expect(result.stages.map(({ name, cached }) => [name, cached])).toEqual([
      ['gradients', true],
      ['analysis', true],
    ])
    expect(readFileSync(result.file)).toEqual(analysis)
    expect(result).toMatchObject({ method: 's2l', budget: '50%', rows: 16, selected: 8, permutations: 99 })
    expect(result.topics).toMatchObject({ names: ['gsm8k', 'svamp'], pool: [4, 12] })
    expect(result.topics!.picked.reduce((a, b) => a + b)).toBe(8)
    const { list, top1, commonest } = result.clusters!
    expect(list).toHaveLength(4)
    expect(list.reduce((sum, { rows }) => sum + rows, 0)).toBe(16)
    expect(list.reduce((sum, { selected }) => sum + selected, 0)).toBe(8)
    expect(top1.found).toBeCloseTo(list.reduce((sum, { rows, share }) => sum + rows * share, 0) / 16, 12)
    expect(commonest).toBe(0.75)
    const { gradients } = result
    expect(gradients).toMatchObject({ groupedBy: 'clusters', parameters: gradients!.dimensions })
    expect(gradients!.checkpoints.map(({ checkpoint }) => checkpoint)).toEqual([1, 4])
    for (const { nll, clusters, sources, along } of gradients!.checkpoints) {
      expect(nll).toBeGreaterThan(0)
      expect(along!.clusters!.found).toBeGreaterThan(0)
      expect(along!.clusters!.found).toBeLessThanOrEqual(1)
      for (const test of [clusters!, sources!]) {
        expect(Math.abs(test.within)).toBeLessThanOrEqual(1)
        expect(test.interval[0]).toBeLessThanOrEqual(test.interval[1])
        expect(test.pairs.within + test.pairs.across).toBe((gradients!.rows * (gradients!.rows - 1)) / 2)
      }
    }
    expect(json(run, 'analysis.json').gradients).toEqual(gradients)
    const page = readFileSync(result.report, 'utf8')
    for (const id of ['cluster-topics', 'topics', 'gradients', 'run']) expect(page).toContain(`<section id="${id}">`)
    const after = json(run, 'manifest.json')
    expect(after).toMatchObject({ status: 'done', config: before.config, counts: before.counts, facts: before.facts })
    expect(after.stages.slice(0, before.stages.length)).toEqual(before.stages)
    expect(after.stages.slice(before.stages.length).map(({ name }: { name: string }) => name)).toEqual([
      'gradients',
      'analysis',
    ])

    // And the selection is still as it was.
    const { config } = before
    const selected = await select({ ...config, overwrite: true, run, out: join(run, '../out.jsonl') }, { ort })
    expect(selected.stages.filter(({ cached }) => !cached).map(({ name }) => name)).toEqual(['report'])
  })

  it('goes on after the last checkpoint of a killed one, to the same numbers', async () => {
    const run = ownRun()
    const controller = new AbortController()
    const stopped = analyse(
      { run, ...asked },
      {
        ort,
        signal: controller.signal,
        onEvent: (event) => {
          if (event.kind === 'stage-progress' && event.progress.detail === 'checkpoint 2 of 2') controller.abort()
        },
      },
    )
    await expect(stopped).rejects.toThrow('aborted')
    const resumed: number[] = []
    await analysed(run, {}, (event) => {
      if (event.kind === 'stage-start' && event.stage === 'gradients') resumed.push(event.resumedParts)
    })
    expect(resumed).toEqual([1])
    expect(readFileSync(join(run, 'analysis.json'))).toEqual(analysis)
  })

  it('compares sketches where whole gradients take too much memory, to nearly the same cosines', async () => {
    const run = ownRun()
    const whole = JSON.parse(analysis.toString()).gradients as GradientFacts
    const sketched = (await analysed(run, { checkpoints: 'early', memoryLimit: '4MB' })).gradients!
    expect(sketched.dimensions).toBe(65_536)
    expect(whole.dimensions).toBe(whole.parameters)
    const [a, b] = [whole.checkpoints[0].clusters!, sketched.checkpoints[0].clusters!]
    const error = Math.sqrt(2 / sketched.dimensions)
    expect(Math.abs(a.within - b.within)).toBeLessThan(4 * error)
    expect(Math.abs(a.across - b.across)).toBeLessThan(4 * error)
    expect(a.within).not.toBe(b.within)
  })

  it('compares rows of sources where there are no clusters', async () => {
    const run = ownRun()
    const manifest = json(run, 'manifest.json')
    const stages = manifest.stages.filter(({ name }: { name: string }) => name !== 'clusters')
    writeFileSync(join(run, 'manifest.json'), JSON.stringify({ ...manifest, stages }))
    const { gradients, clusters, report } = await analysed(run, { checkpoints: 'late', sample: 8 })
    expect(clusters).toBeUndefined()
    expect(gradients).toMatchObject({ groupedBy: 'sources', groups: 2, rows: 8 })
    expect(gradients!.checkpoints[0].clusters).toBeUndefined()
    expect(gradients!.checkpoints[0].sources!.pairs).toEqual({ within: 12, across: 16 })
    expect(readFileSync(report, 'utf8')).toContain('two rows of one source have a mean cosine')
  })

  it('refuses what is no finished selection', async () => {
    const run = ownRun()
    await expect(analysed(join(home, 'nowhere'))).rejects.toMatchObject({ kind: 'usage', fault: { code: 'not-a-run' } })
    await expect(analysed(run, { checkpoints: '5' })).rejects.toMatchObject({
      fault: { code: 'bad-option', path: '--checkpoints', found: '5', expected: '1 to 4' },
    })
    await expect(analysed(run, { checkpoints: 'middle' })).rejects.toMatchObject({ fault: { code: 'bad-option' } })
    // A refusal leaves the run a finished one.
    expect(json(run, 'manifest.json').status).toBe('done')

    writeFileSync(join(run, 'signals/clusters.npy'), 'damaged')
    await expect(analysed(run)).rejects.toMatchObject({
      fault: { code: 'damaged-run', found: expect.stringMatching(/^7 bytes/) },
    })
    const manifest = json(run, 'manifest.json')
    writeFileSync(join(run, 'manifest.json'), JSON.stringify({ ...manifest, status: 'running' }))
    await expect(analysed(run)).rejects.toMatchObject({ fault: { code: 'unfinished-run', found: 'status running' } })
    writeFileSync(join(run, 'manifest.json'), JSON.stringify({ ...manifest, config: { command: 'winnow train' } }))
    await expect(analysed(run)).rejects.toMatchObject({ fault: { code: 'not-a-selection', found: 'winnow train' } })
  })
})

describe('analyse of other runs', () => {
  it('is of the selection that a run has: told by its own budget, and gone with an earlier one', async () => {
    const home = directory()
    const run = join(home, 'run')
    writePool(join(home, 'pool.jsonl'), poolLines({ svamp: 24, gsm8k: 6 }))
    const pick = (budget: string) =>
      select(
        {
          ...{ pool: [join(home, 'pool.jsonl')], budget, method: 'random', threads: 1, overwrite: true },
          ...{ out: join(home, 'out.jsonl'), run },
        },
        { ort },
      )
    const stageKey = () =>
      json(run, 'manifest.json').stages.find(({ name }: { name: string }) => name === 'analysis').key
    await pick('30%')
    expect((await analyse({ run, ...asked }, { ort })).budget).toBe('30%')
    const first = stageKey()
    await pick('30%')
    expect(existsSync(join(run, 'analysis.html'))).toBe(true)
    // The same nine rows, asked for in another way.
    await pick('9')
    for (const file of ['analysis.json', 'analysis.html']) expect(existsSync(join(run, file)), file).toBe(false)
    expect((await analyse({ run, ...asked }, { ort })).budget).toBe('9')
    expect(stageKey()).not.toBe(first)
    // Other rows.
    await pick('5')
    for (const file of ['analysis.json', 'analysis.html']) expect(existsSync(join(run, file)), file).toBe(false)
  }, 60_000)

  function prepared() {
    const home = directory()
    writePool(join(home, 'pool.jsonl'), poolLines({ svamp: 12, gsm8k: 4 }))
    const places = { pool: [join(home, 'pool.jsonl')], out: join(home, 'out.jsonl'), run: join(home, 'run') }
    return { home, places }
  }

  it('of a random pick has topics alone, and says why', async () => {
    const { places } = prepared()
    await select({ ...places, budget: '6', method: 'random' }, { ort })
    const result = await analyse({ run: places.run, ...asked }, { ort })
    expect(result.notices).toMatchObject([{ code: 'no-proxy' }])
    expect(result.topics!.pool).toEqual([4, 12])
    expect(result.clusters ?? result.gradients).toBeUndefined()
    expect((await analyse({ run: places.run, ...asked, sample: 0 }, { ort })).notices).toEqual([])
  })

  it('of rows without sources has no topics, and says so', async () => {
    const { home, places } = prepared()
    writePool(
      join(home, 'pool.jsonl'),
      ['one', 'two', 'three'].map((text) => JSON.stringify({ text })),
    )
    await select({ ...places, budget: '2', method: 'random' }, { ort })
    const result = await analyse({ run: places.run, ...asked, sample: 0 }, { ort })
    expect(result.notices).toMatchObject([
      { code: 'no-topics', message: 'no row of the pool names a source, so there are no topics to tell apart' },
    ])
    expect(result.topics ?? result.clusters).toBeUndefined()
  })

  it('takes gradients by the adapters of a proxy that was trained by them, at the checkpoint that was kept', async () => {
    const { home, places } = prepared()
    const proxy = tinyModel(join(home, 'model'), { config: { max_position_embeddings: 256 } })
    const methodOptions = { checkpoints: 3, clusters: 2 }
    await select({ ...places, budget: '6', proxy, lora: 2, methodOptions }, { ort })
    const result = await analyse({ run: places.run, ...asked, sample: 12, checkpoints: 'all' }, { ort })
    expect(result.notices).toMatchObject([{ code: 'checkpoints-not-kept' }])
    expect(result.gradients!.checkpoints.map(({ checkpoint }) => checkpoint)).toEqual([3])
    // Of 29 thousand, those of the adapters: rank 2 on seven matrices in each of two layers.
    expect(result.gradients!.parameters).toBeLessThan(5000)
    expect(result.gradients!.checkpoints[0].clusters!.pairs.within).toBeGreaterThan(0)
    expect(result.gradients!.checkpoints[0].along).toBeUndefined()
  })

  it('refuses the run of a training', async () => {
    const { home, places } = prepared()
    const model = tinyModel(join(home, 'model'), { config: { max_position_embeddings: 256 } })
    await train({ pool: places.pool, proxy: model, run: places.run, out: join(home, 'trained'), epochs: 1 }, { ort })
    await expect(analyse({ run: places.run, ...asked }, { ort })).rejects.toMatchObject({
      fault: { code: 'not-a-selection' },
    })
  })
})

describe('checkpoints', () => {
  it('are named early, late, by number, or all', () => {
    expect(checkpointColumns('early', 12)).toEqual([2])
    expect(checkpointColumns('late,1,early', 12)).toEqual([0, 2, 11])
    expect(checkpointColumns('all,late', 3)).toEqual([0, 1, 2])
  })
})
