/**
 * The `ngrams` embedding against scikit-learn's HashingVectorizer, TfidfTransformer and SparseRandomProjection (character 3-grams, 384
 * dimensions): the pool's frequencies (`fit`) and the vectors of all texts (`embed`), one thread each, alternating in one run.
 *
 *   node bench/ngrams.ts [--pool rows.jsonl]… [--python python3] [--rounds 5] [--built dist] [--out results.json]
 *
 * Without --pool: examples/math.jsonl.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { startPeer } from './peers/peer.ts'
import { machine, median, peakMiB, timed } from './sides.ts'
import { bytesOf, textsOf } from './texts.ts'

const { values: options } = parseArgs({
  options: {
    pool: { type: 'string', multiple: true, default: [join(import.meta.dirname, '../examples/math.jsonl')] },
    python: { type: 'string', default: 'python3' },
    rounds: { type: 'string', default: '5' },
    built: { type: 'string' },
    out: { type: 'string' },
  },
})
const [home, extension] =
  options.built === undefined ? [join(import.meta.dirname, '../src'), 'ts'] : [resolve(options.built), 'js']
const { fitNgrams, ngramEmbedder } = (await import(
  join(home, `embedding/ngrams.${extension}`)
)) as typeof import('../src/embedding/ngrams.ts')

const DIMENSIONS = 384
const texts = textsOf(options.pool)
const bytes = bytesOf(texts)

/** Processor seconds by stage and side: both work on one thread, and other work on the machine stretches the clock. */
const cpu: Record<'fit' | 'embed', Record<'winnow' | 'sklearn', number[]>> = {
  fit: { winnow: [], sklearn: [] },
  embed: { winnow: [], sklearn: [] },
}
const folder = mkdtempSync(join(tmpdir(), 'ngrams-'))
try {
  const file = join(folder, 'texts.json')
  writeFileSync(file, JSON.stringify(texts))
  const peer = await startPeer(options.python, 'ngrams_sklearn.py', { file, dimensions: DIMENSIONS })
  let peerPeak = 0
  for (let round = 0; round < Number(options.rounds); round++) {
    const fit = await timed(async () => {
      const pool = fitNgrams({ dimensions: DIMENSIONS })
      for (const text of texts) pool.add(text)
      return pool.finish()
    })
    const embed = await timed(() => ngramEmbedder(fit.value).embed(texts))
    const there = await peer.ask({})
    cpu.fit.winnow.push(fit.cpu)
    cpu.embed.winnow.push(embed.cpu)
    cpu.fit.sklearn.push(there.fit.cpu)
    cpu.embed.sklearn.push(there.embed.cpu)
    peerPeak = there.peakMiB
  }
  peer.end()
  const stages = Object.entries(cpu).map(([stage, { winnow, sklearn }]) => ({
    stage,
    cpuSeconds: { winnow, sklearn },
    megabytesPerSecond: { winnow: bytes / 1e6 / median(winnow), sklearn: bytes / 1e6 / median(sklearn) },
    ratio: median(sklearn) / median(winnow),
    ratios: winnow.map((seconds, round) => sklearn[round] / seconds).toSorted((a, b) => a - b),
  }))
  for (const { stage, megabytesPerSecond, ratio, ratios } of stages)
    console.log(
      `${stage}: winnow ${megabytesPerSecond.winnow.toFixed(1)} MB/s, scikit-learn ${megabytesPerSecond.sklearn.toFixed(1)} MB/s, ` +
        `${ratio.toFixed(1)}x (${ratios.map((r) => r.toFixed(1)).join(' ')})`,
    )
  if (options.out !== undefined) {
    const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8'))
    const code = options.built === undefined ? 'sources' : 'built'
    const about = { date: new Date().toISOString(), version, machine: { ...machine(), code } }
    const work = { texts: texts.length, bytes, dimensions: DIMENSIONS, threads: 1 }
    const peak = { winnow: peakMiB(), sklearn: peerPeak }
    const result = { ...about, ...work, stages, peakMiB: peak, peer: peer.ready.versions }
    writeFileSync(options.out, JSON.stringify(result, null, 2) + '\n')
  }
} finally {
  rmSync(folder, { recursive: true })
}
