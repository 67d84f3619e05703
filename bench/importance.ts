/**
 * DSIR's features against the authors' package `data-selection`: the same texts counted into 10,000 buckets, one thread each,
 * alternating in one run, counts compared.
 *
 *   node bench/importance.ts [--pool rows.jsonl]… [--python python3] [--rounds 5] [--built dist] [--out results.json]
 *
 * Without --pool: examples/math.jsonl. Besides the pool's own texts, `chain` is 24 MB of words drawn from it: 4 of 5 from those that
 * follow the word before in the pool, the others by how often they occur; so many pairs are frequent and many new, as in a large corpus.
 * Each of our rounds begins with empty caches. `fast` is the 32-bit hash.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { randomStream } from '../src/random/philox.ts'
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
const { bucketCounter } = (await import(
  join(home, `importance/importance.${extension}`)
)) as typeof import('../src/importance/importance.ts')

const CHAIN_BYTES = 24_000_000

/** Texts of 100 words from the pool's words and their followers. */
function chain(texts: string[]): string[] {
  const words = texts.flatMap((text) => text.split(/\s+/))
  const places = new Map<string, number[]>()
  for (let i = 0; i + 1 < words.length; i++) {
    const list = places.get(words[i])
    if (list) list.push(i)
    else places.set(words[i], [i])
  }
  const stream = randomStream(1, 'chain')
  const drawn: string[] = []
  let at = 0
  for (let size = 0; size < CHAIN_BYTES; ) {
    const line: string[] = []
    for (let i = 0; i < 100; i++) {
      const followers = stream.below(5) === 0 ? undefined : places.get(words[at])
      at = followers ? followers[stream.below(followers.length)] + 1 : stream.below(words.length)
      line.push(words[at])
    }
    drawn.push(line.join(' '))
    size += drawn[drawn.length - 1].length + 1
  }
  return drawn
}

function count(texts: string[], hash: 'sha256' | 'fast'): Float64Array {
  const counter = bucketCounter({ hash })
  for (const text of texts) counter.add(text)
  return counter.counts
}

type Side = { seconds: number[]; cpu: number[] }

async function measure(name: string, texts: string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'importance-'))
  try {
    const file = join(folder, 'texts.json')
    writeFileSync(file, JSON.stringify(texts))
    const peer = await startPeer(options.python, 'dsir_features.py', { file })
    const sides: Record<string, Side> = {}
    const add = (side: string, seconds: number, cpu: number) => {
      sides[side] ??= { seconds: [], cpu: [] }
      sides[side].seconds.push(seconds)
      sides[side].cpu.push(cpu)
    }
    let peerPeak = 0
    let ngrams = 0
    for (let round = 0; round < Number(options.rounds); round++) {
      const here = await timed(async () => count(texts, 'sha256'))
      add('winnow', here.seconds, here.cpu)
      const there = await peer.ask({})
      add('data-selection', there.seconds, there.cpu)
      const fast = await timed(async () => count(texts, 'fast'))
      add('winnow fast', fast.seconds, fast.cpu)
      if (there.counts.some((value: number, bucket: number) => value !== here.value[bucket]))
        throw new Error('counts differ')
      ngrams = here.value.reduce((sum, value) => sum + value, 0)
      peerPeak = there.peakMiB
    }
    peer.end()
    const bytes = bytesOf(texts)
    const ratios = sides.winnow.cpu.map((cpu, round) => sides['data-selection'].cpu[round] / cpu)
    const result = {
      ...{ name, texts: texts.length, bytes, ngrams, threads: 1, countsEqual: true, sides },
      megabytesPerSecond: Object.fromEntries(
        Object.entries(sides).map(([side, { cpu }]) => [side, bytes / 1e6 / median(cpu)]),
      ),
      /** Processor time of the peer over ours: median over median, and within each round. */
      ratio: median(sides['data-selection'].cpu) / median(sides.winnow.cpu),
      ratios: ratios.toSorted((a, b) => a - b),
      ratioElapsed: median(sides['data-selection'].seconds) / median(sides.winnow.seconds),
      peakMiB: { winnow: peakMiB(), peer: peerPeak },
      peer: peer.ready.versions,
    }
    console.log(
      `${name}: ${(bytes / 1e6).toFixed(1)} MB, ${ngrams} n-grams; ` +
        Object.entries(result.megabytesPerSecond)
          .map(([side, rate]) => `${side} ${rate.toFixed(2)} MB/s`)
          .join(', ') +
        `; ${result.ratio.toFixed(2)}x (${result.ratios.map((r) => r.toFixed(2)).join(' ')})`,
    )
    return result
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const texts = textsOf(options.pool)
const results = [await measure('pool', texts), await measure('chain', chain(texts))]
if (options.out !== undefined) {
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8'))
  const code = options.built === undefined ? 'sources' : 'built'
  const about = { date: new Date().toISOString(), version, machine: { ...machine(), code } }
  writeFileSync(options.out, JSON.stringify({ ...about, results }, null, 2) + '\n')
}
