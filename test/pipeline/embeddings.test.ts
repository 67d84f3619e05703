import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { openDataset } from '../../src/dataset/dataset.ts'
import { normaliseRows } from '../../src/embedding/pooling.ts'
import { openContext } from '../../src/pipeline/context.ts'
import { embedRows, type RowEmbedder } from '../../src/pipeline/embeddings.ts'
import { optionsAsConfig, resolveOptions } from '../../src/pipeline/options.ts'
import { comparedText, recordGroups } from '../../src/pipeline/target.ts'
import { scoreCandidates } from '../../src/pipeline/transport.ts'
import { gatherVectors, openVectors, vectorBlocks } from '../../src/pipeline/vector-files.ts'
import { randomStream } from '../../src/random/philox.ts'
import { writeNpy } from '../../src/signals/npy.ts'
import { signal } from '../../src/signals/signal.ts'
import { directory } from './pools.ts'

/** A vector of each text that anyone can compute: its length and the row's parity. */
function plainEmbedder(more: Partial<RowEmbedder> = {}): RowEmbedder & { texts: string[] } {
  const texts: string[] = []
  return {
    ...{ name: 'plain', dimensions: 2, identity: { plain: 1 }, shardRows: 7, texts },
    embed: async (records) => {
      texts.push(...records.map(({ turns }) => comparedText(turns)))
      return Float32Array.from(records.flatMap(({ row, turns }) => [comparedText(turns).length, row % 2]))
    },
    ...more,
  }
}

async function place(rows = 40) {
  const home = directory()
  const pool = join(home, 'pool.jsonl')
  writeFileSync(
    pool,
    Array.from({ length: rows }, (_, i) => `${JSON.stringify({ text: 'x'.repeat(1 + (i % 9)) })}\n`).join(''),
  )
  const options = resolveOptions({ pool: [pool], budget: '3', run: join(home, 'run'), method: 'random', device: 'cpu' })
  const dataset = await openDataset([pool])
  return {
    home,
    dataset,
    options,
    open: (signal?: AbortSignal) => openContext(options, optionsAsConfig(options), { ort, signal }),
  }
}

describe('embedding a dataset', () => {
  it('gives every row its vector, shard by shard, and goes on after a failure with the shards it has', async () => {
    const { home, dataset, open } = await place()
    const asked = { stage: 'embeddings', dataset, rows: 40, hash: 'pool' } as const
    let calls = 0
    const failing = plainEmbedder()
    const { embed } = failing
    failing.embed = async (records, options) => {
      if (++calls === 4) throw new Error('out of battery')
      return embed(records, options)
    }
    {
      const context = await open()
      await using _ = context.run
      await expect(embedRows(context, { ...asked, embedder: failing })).rejects.toThrow('out of battery')
    }
    const context = await open()
    await using _ = context.run
    const embedder = plainEmbedder()
    const { files, empty } = await embedRows(context, { ...asked, embedder })
    // 21 rows were there.
    expect(embedder.texts.length).toBe(19)
    expect([files.rows, files.dimensions, empty.length]).toEqual([40, 2, 0])
    const all = await files.read(0, 40)
    for (let row = 0; row < 40; row++) expect([...all.subarray(2 * row, 2 * row + 2)]).toEqual([1 + (row % 9), row % 2])
    expect([...(await files.read(5, 4))]).toEqual([...all.subarray(10, 18)])
    const again = plainEmbedder()
    await embedRows(context, { ...asked, embedder: again })
    expect(again.texts).toEqual([])
    expect(readdirSync(join(home, 'run', 'signals', 'embeddings')).length).toBe(1)
  })

  it('notes rows whose vector is zero, and refuses vectors that are not finite by file and line', async () => {
    const { dataset, open } = await place(20)
    const context = await open()
    await using _ = context.run
    const asked = { stage: 'embeddings', dataset, rows: 20, hash: 'pool' } as const
    const zeros = plainEmbedder({
      identity: { zeros: 1 },
      embed: async (records) => Float32Array.from(records.flatMap(({ row }) => (row % 6 === 1 ? [0, 0] : [1, 2]))),
    })
    expect([...(await embedRows(context, { ...asked, embedder: zeros })).empty]).toEqual([1, 7, 13, 19])
    const nan = plainEmbedder({
      identity: { nan: 1 },
      embed: async (records) => Float32Array.from(records.flatMap(({ row }) => [1, row === 12 ? Number.NaN : 1])),
    })
    await expect(embedRows(context, { ...asked, embedder: nan })).rejects.toMatchObject({
      fault: { code: 'not-finite', line: 13 },
    })
  })
})

describe('vectors in files', () => {
  it('are read across shards, gathered, and passed over in blocks', async () => {
    const home = directory()
    const stream = randomStream(1, 'vectors')
    const data = Float32Array.from({ length: 30 * 3 }, () => stream.normal())
    const cuts = [0, 4, 5, 21, 30]
    const paths = cuts.slice(1).map((end, i) => {
      const path = join(home, `${i}.npy`)
      writeFileSync(path, writeNpy({ shape: [end - cuts[i], 3], data: data.slice(3 * cuts[i], 3 * end) }))
      return path
    })
    const files = await openVectors(paths)
    expect([...(await files.read(3, 20))]).toEqual([...data.subarray(9, 69)])
    const rows = Uint32Array.from([0, 4, 20, 21, 29])
    const { data: gathered } = await gatherVectors(files, rows, { normalise: false })
    expect([...gathered]).toEqual([...rows].flatMap((row) => [...data.subarray(3 * row, 3 * row + 3)]))
    const places = Uint32Array.from([4, 3, 2, 1, 0])
    const { data: turned } = await gatherVectors(files, rows, { normalise: false, places })
    expect([...turned]).toEqual([...rows].reverse().flatMap((row) => [...data.subarray(3 * row, 3 * row + 3)]))
    const passed: number[] = []
    for await (const { first, data: block } of vectorBlocks(files, { normalise: true, from: 2, to: 29 })) {
      expect(first).toBe(2 + passed.length / 3)
      passed.push(...block)
    }
    expect(passed).toEqual([...normaliseRows(data.slice(6, 87), 3)])
  })

  it('of one float16 or float64 file become float32; zero vectors stay zero', async () => {
    const home = directory()
    const path = join(home, 'wide.npy')
    writeFileSync(path, writeNpy({ shape: [2, 2], data: Float64Array.from([3, 4, 0, 0]) }))
    const files = await openVectors([path])
    const { data } = await gatherVectors(files, Uint32Array.from([0, 1]), { normalise: true })
    expect([...data]).toEqual([Math.fround(0.6), Math.fround(0.8), 0, 0])
  })
})

describe('scores of a large pool', () => {
  it('are kept part by part, and are the same in one part and in many, interrupted or not', async () => {
    const { home, options, open } = await place()
    const stream = randomStream(2, 'scores')
    const [rows, targets, d] = [300, 9, 4]
    const write = (name: string, count: number) => {
      const path = join(home, name)
      const data = normaliseRows(
        Float32Array.from({ length: count * d }, () => stream.normal()),
        d,
      )
      writeFileSync(path, writeNpy({ shape: [count, d], data }))
      return openVectors([path])
    }
    const none = new Uint32Array()
    const vectors = {
      pool: { files: await write('p.npy', rows), hash: 'p', empty: none },
      target: { files: await write('t.npy', targets), hash: 't', empty: none },
    }
    const scoring = {
      need: {
        ...({
          signal: 'potential',
          of: 'embeddings',
          domains: 'all',
          collapse: false,
          sample: 100,
          epsilon: 'auto',
        } as const),
        ...({ relaxation: 1, threshold: 1e-3, iterations: 2000, unbalanced: 'none' } as const),
      },
      ...{ rows, vectors, hashes: { embeddings: 'p', target: 't' }, normalise: true },
      budget: { unit: 'rows', rows: 10 } as const,
      tokens: new Uint32Array(rows).fill(9),
      distance: { signal: signal('distance', new Float64Array(rows)), hash: 'd' },
    }
    const whole = await (async () => {
      const context = await open()
      await using _ = context.run
      return await scoreCandidates({ ...context, options }, scoring)
    })()
    const stopping = new AbortController()
    await expect(
      (async () => {
        const other = { ...options, run: join(home, 'other') }
        const context = await openContext(other, optionsAsConfig(other), {
          ort,
          signal: stopping.signal,
          onEvent: (event) => {
            if (event.kind === 'stage-progress' && event.stage === 'scores' && event.progress.fraction > 0.5)
              stopping.abort()
          },
        })
        await using _ = context.run
        await scoreCandidates({ ...context, options: other }, { ...scoring, partRows: 64 })
      })(),
    ).rejects.toThrow(/abort/i)
    const other = { ...options, run: join(home, 'other') }
    const context = await openContext(other, optionsAsConfig(other), { ort })
    await using _ = context.run
    const parts = await scoreCandidates({ ...context, options: other }, { ...scoring, partRows: 64 })
    expect(context.run.manifest.stages.find(({ name }) => name === 'scores')?.resumedParts).toBe(3)
    for (const name of ['potential', 'nearest', 'nearest_cost'] as const)
      expect(parts.signals[name].data).toEqual(whole.signals[name].data)
    const [key] = readdirSync(join(home, 'other', 'signals', 'scores'))
    expect(readdirSync(join(home, 'other', 'signals', 'scores', key)).sort()).toEqual([
      ...['nearest-cost.npy', 'nearest.npy', 'potential.npy'],
    ])
  })
})

describe('records in groups', () => {
  it('are of the asked size, whatever batches they come in', async () => {
    const { dataset } = await place(23)
    const sizes: [number, number][] = []
    for await (const { first, records } of recordGroups(dataset, 10)) sizes.push([first, records.length])
    expect(sizes).toEqual([
      [0, 10],
      [10, 10],
      [20, 3],
    ])
  })

  it('texts are cut between characters, not inside one', () => {
    const turns = [{ role: 'text', content: 'ab😀cd', trained: true } as const]
    expect([1, 3, 4, 99].map((length) => comparedText(turns, length))).toEqual(['a', 'ab', 'ab😀', 'ab😀cd'])
  })
})
