import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { ablate } from '../../src/pipeline/ablate.ts'
import { type AblateOptions, resolveAblation } from '../../src/pipeline/ablate-options.ts'
import { recordedColumns } from '../../src/pipeline/recording.ts'
import { select } from '../../src/pipeline/select.ts'
import { parseJournal } from '../../src/runs/journal.ts'
import { tinyModel } from './models.ts'
import { directory, poolLines, writePool } from './pools.ts'

const lines = (path: string) => readFileSync(path, 'utf8').trimEnd().split('\n')

describe('ablate', () => {
  it('picks in each way from one recording, and compares the picks', async () => {
    const home = directory()
    const pool = join(home, 'pool.jsonl')
    writePool(pool, poolLines({ svamp: 36, gsm8k: 8 }))
    const run = join(home, 'run')
    const proxy = tinyModel(join(home, 'model'), { config: { max_position_embeddings: 256 } })
    const names: string[] = []
    const options: AblateOptions = {
      ...{ pool: [pool], budget: '25%', run, threads: 1, proxy, epochs: 1, batch: 4 },
      methodOptions: { checkpoints: 4, clusters: 4 },
      vary: {
        checkpoints: ['2', '4'],
        'first-checkpoints': ['2', '4'],
        clusters: ['3'],
        seed: ['1'],
        method: ['random'],
      },
    }
    const result = await ablate(options, { ort, onVariation: (name) => names.push(name) })
    expect(result.picks.map(({ name }) => name)).toEqual([
      'base',
      'another draw',
      'checkpoints=2',
      'first-checkpoints=2',
      'clusters=3',
      'seed=1',
      'method=random',
    ])
    expect(result.picks[0].also).toEqual(['checkpoints=4', 'first-checkpoints=4'])
    // The base comes last, and the run is left as its.
    expect(names.at(-1)).toBe('base')
    const manifest = JSON.parse(readFileSync(join(run, 'manifest.json'), 'utf8'))
    expect(manifest).toMatchObject({ status: 'done', config: { methodOptions: { checkpoints: 4 }, seed: 0 } })
    expect(manifest.config.drawSeed).toBeUndefined()

    // Two seeds, two trainings.
    const { records } = parseJournal(readFileSync(join(run, 'journal.jsonl')))
    const trained = records.filter(({ event, stage }) => event === 'done' && stage === 'trajectories')
    expect(trained).toHaveLength(2)

    const picked = result.picks.map(({ file }) => lines(file))
    picked.forEach((rows) => {
      expect(rows).toHaveLength(11)
    })
    picked.forEach((a, i) => {
      picked.forEach((b, j) => {
        const shared = a.filter((line) => b.includes(line)).length
        expect(result.overlap.shared[i][j]).toBe(shared)
        expect(result.overlap.jaccard[i][j]).toBeCloseTo(shared / (22 - shared), 12)
      })
    })
    const of = (name: string) => result.picks.findIndex((pick) => pick.name === name)
    // The same clusters drawn from with another seed; a random pick has none.
    expect(result.picks[of('another draw')].agreement).toBe(1)
    expect(result.picks[of('clusters=3')].agreement).toBeLessThan(1)
    expect(result.picks[of('method=random')].agreement).toBeUndefined()
    expect(picked[of('another draw')]).not.toEqual(picked[0])
    expect(result.picks[of('method=random')].stages.map(({ name }) => name)).toEqual(['select'])
    expect(result.picks[0].stages.map(({ name }) => name)).toEqual(['trajectories', 'clusters', 'select'])
    // Whichever pick came first: of the base's stages another draw has the same trajectories and clusters, and makes a choice of its own.
    const sharedOf = (name: string) => result.picks[of(name)].stages.map(({ shared }) => shared)
    expect(sharedOf('base')).toEqual([true, true, false])
    expect(sharedOf('another draw')).toEqual([true, true, false])
    expect(sharedOf('clusters=3')).toEqual([true, false, false])
    expect(readFileSync(result.report, 'utf8')).toContain('<section id="overlap">')
    const { picks, overlap } = JSON.parse(readFileSync(result.file, 'utf8'))
    expect({ picks, overlap }).toEqual({ picks: JSON.parse(JSON.stringify(result.picks)), overlap: result.overlap })

    // A shorter trajectory is what a recording of that length has: the same pick, to the byte.
    const alone = await select(
      {
        ...{ pool: [pool], budget: '25%', run: join(home, 'alone'), out: join(home, 'alone.jsonl') },
        ...{ threads: 1, proxy, epochs: 1, batch: 4 },
        methodOptions: { checkpoints: 2, clusters: 4 },
      },
      { ort },
    )
    expect(lines(alone.out.path)).toEqual(picked[of('checkpoints=2')])

    // Again: the same table, nothing trained anew.
    const again = await ablate(options, { ort })
    expect(again.overlap).toEqual(result.overlap)
    expect(again.picks[0].stages[0]).toMatchObject({ name: 'trajectories', shared: true })

    // Other picks replace these; the run of another pool is left alone.
    const fewer = await ablate({ ...options, budget: '5', vary: { draw: ['3'] } }, { ort })
    expect(lines(fewer.picks[0].file)).toHaveLength(5)
    const other = join(home, 'other.jsonl')
    writePool(other, poolLines({ svamp: 20, gsm8k: 0 }))
    await expect(ablate({ ...options, pool: [other] }, { ort })).rejects.toMatchObject({
      fault: { code: 'other-pool' },
    })
  })
})

describe('the variations of an ablation', () => {
  const base = { pool: ['data/pool.jsonl.gz'], budget: '10%' }
  const recorded = (options: Omit<AblateOptions, 'pool' | 'budget'>) =>
    resolveAblation({ ...base, ...options }).variations.map((variation) => variation.options.recording?.checkpoints)

  it('share one training of the proxy, whatever is read of it', () => {
    const vary = { checkpoints: ['3', '6'], method: ['s2l'] }
    const methodOptions = { checkpoints: 4 }
    expect(recorded({ method: 'confidence-curriculum', methodOptions, vary })).toEqual([6, 6, 6, 6, 6])
    expect(recorded({ method: 'least-confidence', methodOptions, vary: { checkpoint: ['start'] } })).toEqual([
      4,
      4,
      undefined,
    ])
    const hidden = { method: 'facility-location', embedding: 'proxy', vary: { checkpoint: ['early'] } }
    expect(recorded(hidden)).toEqual([12, 12, 12])
    expect(recorded({ ...hidden, vary: { neighbours: ['8'] } })).toEqual([1, 1, 1])
    expect(recorded({ ...hidden, proxy: './model', vary: { neighbours: ['8'] } })).toEqual(Array(3))
    // A pretrained proxy scores IFD as it is.
    expect(recorded({ method: 'ifd', proxy: './model', vary: { checkpoint: ['late'] } })).toEqual([
      undefined,
      undefined,
      12,
    ])
  })

  it('are checked before anything is read, and get places of their own', () => {
    const { run, variations } = resolveAblation({
      ...base,
      vary: {
        proxy: ['./a b/c', './a:b/c'],
        'last-checkpoints': ['3'],
        stratify: ['source'],
        budget: ['5%'],
        draw: ['7'],
      },
    })
    expect(run).toBe('pool.ablation.winnow')
    expect(variations.map(({ name, options }) => [name, options.out])).toEqual([
      ['base', 'pool.ablation.winnow/ablation/base.jsonl.gz'],
      ['another draw', 'pool.ablation.winnow/ablation/another-draw.jsonl.gz'],
      ['proxy=./a b/c', 'pool.ablation.winnow/ablation/proxy-.-a-b-c.jsonl.gz'],
      ['proxy=./a:b/c', 'pool.ablation.winnow/ablation/proxy-.-a-b-c-2.jsonl.gz'],
      ['last-checkpoints=3', 'pool.ablation.winnow/ablation/last-checkpoints-3.jsonl.gz'],
      ['stratify=source', 'pool.ablation.winnow/ablation/stratify-source.jsonl.gz'],
      ['budget=5%', 'pool.ablation.winnow/ablation/budget-5.jsonl.gz'],
      ['draw=7', 'pool.ablation.winnow/ablation/draw-7.jsonl.gz'],
    ])
    for (const { options } of variations) expect(options.recording!.checkpoints).toBe(12)
    expect(variations[4].options).toMatchObject({ methodOptions: { checkpoints: '3' }, recording: { columns: 'last' } })
  })

  it('of a method keep the options that it has too', () => {
    const { variations } = resolveAblation({
      ...base,
      methodOptions: { clusters: 7 },
      vary: { method: ['random', 's2l'] },
    })
    expect(variations.map(({ name, also }) => [name, also])).toEqual([
      ['base', ['method=s2l']],
      ['another draw', []],
      ['method=random', []],
    ])
    expect(variations[2].options).toMatchObject({ method: 'random', methodOptions: {} })
    expect(variations[2].options.recording).toBeUndefined()
  })

  it.each([
    ['nothing', {}, 'no-variation', undefined],
    ['what no method has', { epsilon: ['1'] }, 'unknown-option', 'epsilon'],
    ['a value that is none', { clusters: ['many'] }, 'bad-option', 'many'],
    ['a seed that is none', { seed: ['-1'] }, 'bad-option', undefined],
    ['a method that is none', { method: ['s2k'] }, 'unknown-method', 's2k'],
  ])('cannot be of %s', (_, vary, code, found) => {
    expect(() => resolveAblation({ ...base, vary: vary as Record<string, string[]> })).toThrow(
      expect.objectContaining({ kind: 'usage', fault: expect.objectContaining({ code, ...(found && { found }) }) }),
    )
  })

  it('take no first or last checkpoints of imported losses', () => {
    expect(() =>
      resolveAblation({ ...base, signals: { trajectories: 'losses.npy' }, vary: { 'first-checkpoints': ['3'] } }),
    ).toThrow(expect.objectContaining({ fault: expect.objectContaining({ code: 'imported-window' }) }))
  })
})

describe('columns of a longer recording', () => {
  it('are even, the first or the last ones', () => {
    expect(Array.from(recordedColumns(12, 3, 'even'))).toEqual([3, 7, 11])
    expect(Array.from(recordedColumns(12, 3, 'first'))).toEqual([0, 1, 2])
    expect(Array.from(recordedColumns(12, 3, 'last'))).toEqual([9, 10, 11])
    expect(Array.from(recordedColumns(2, 3, 'last'))).toEqual([0, 1])
  })
})
