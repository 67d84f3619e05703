/**
 * GOT-D from texts to a pick: a million texts made of a smaller pool's, n-grams, every stage of `winnow select` in one process.
 *
 *   node bench/toward-million.ts --pool domain-pool.jsonl.gz --target reviews.jsonl [--rows 1000000] [--budget 10000]
 *
 * Row i is text i of the pool (over and over) turned at a random word, and behind the first round the first six words of another one; so rows
 * are unlike each other, and near duplicates are many. Writes bench/results/toward-million.json.
 */

import { once } from 'node:events'
import { createWriteStream, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { gunzipSync } from 'node:zlib'
import * as ort from 'onnxruntime-node'
import { select } from '../src/pipeline/select.ts'
import { randomStream } from '../src/random/philox.ts'
import { machine, peakMiB, timed } from './sides.ts'

const { values: options } = parseArgs({
  options: {
    pool: { type: 'string' },
    target: { type: 'string' },
    rows: { type: 'string', default: '1000000' },
    budget: { type: 'string', default: '10000' },
  },
})
if (options.pool === undefined || options.target === undefined) throw new Error('say --pool and --target')

const home = mkdtempSync(join(tmpdir(), 'toward-million-'))
const pool = join(home, 'pool.jsonl')
try {
  const bytes = readFileSync(options.pool)
  const lines = (options.pool.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8').trimEnd().split('\n')
  const texts = lines.map((line) => JSON.parse(line) as { domain: string; text: string })
  const stream = randomStream(0, 'toward-million')
  const out = createWriteStream(pool)
  for (let i = 0; i < Number(options.rows); i++) {
    const { domain, text } = texts[i % texts.length]
    const words = text.split(' ')
    const turn = stream.below(words.length)
    const more = i < texts.length ? [] : texts[stream.below(texts.length)].text.split(' ').slice(0, 6)
    const row = { domain, text: [...words.slice(turn), ...words.slice(0, turn), ...more].join(' ') }
    if (!out.write(`${JSON.stringify(row)}\n`)) await once(out, 'drain')
  }
  out.end()
  await once(out, 'finish')
  const { value, seconds, cpu } = await timed(() =>
    select(
      {
        ...{ pool: [pool], target: [options.target as string], method: 'got-d', budget: options.budget, threads: 2 },
        ...{ run: join(home, 'run'), out: join(home, 'out.jsonl') },
      },
      {
        ort,
        onEvent: (event) =>
          event.kind === 'stage-end' && console.log(event.stage, event.seconds.toFixed(1), event.summary ?? ''),
      },
    ),
  )
  const { rows, selected, target, stages } = value
  const result = {
    ...{ date: new Date().toISOString(), machine: machine(), threads: 2, rows, bytes: statSync(pool).size, selected },
    ...{ seconds, cpuSeconds: cpu, peakMiB: Math.round(peakMiB()), target, stages },
  }
  console.log(`${rows} rows in ${seconds.toFixed(1)} s (cpu ${cpu.toFixed(1)} s), ${result.peakMiB} MiB`)
  writeFileSync(join(import.meta.dirname, 'results/toward-million.json'), `${JSON.stringify(result, null, 2)}\n`)
} finally {
  rmSync(home, { recursive: true })
}
