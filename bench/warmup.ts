/**
 * What a warm-up is worth to a small task: the loss on held-out rows of a task after each way of training the same model.
 *
 *   node bench/warmup.ts pool.jsonl.gz target.jsonl --model dir --domain medquad/ninds [--pick 400] [--task 100] [--test 100] [--seeds 3] [--write]
 *
 * The target's first rows are the task, its last the test. Picks are drawn from the pool by the seed: of the named domain (the right one, as a
 * perfect selection would have it), and of the whole pool, as many characters of either. `task alone` has the task's epochs; `task alone, as many tokens` has more of them,
 * so that as many tokens are processed as in a warm-up. --write keeps bench/results/warmup.json.
 */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { gunzipSync } from 'node:zlib'
import * as ort from 'onnxruntime-node'
import { score } from '../src/pipeline/score.ts'
import { train } from '../src/pipeline/train.ts'
import { warmup } from '../src/pipeline/warmup.ts'
import { randomStream, shuffle } from '../src/random/philox.ts'
import { machine } from './sides.ts'

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string' },
    domain: { type: 'string', default: 'medquad/ninds' },
    pick: { type: 'string', default: '400' },
    task: { type: 'string', default: '100' },
    test: { type: 'string', default: '100' },
    rate: { type: 'string', default: '1e-3' },
    epochs: { type: 'string', default: '3' },
    seeds: { type: 'string', default: '3' },
    threads: { type: 'string', default: '2' },
    write: { type: 'boolean', default: false },
  },
})
const [poolPath, targetPath] = positionals
const { model, domain } = options
if (targetPath === undefined || model === undefined)
  throw new Error('name the pool, the target and a model: see the head of bench/warmup.ts')
const [threads, epochs, learningRate] = [options.threads, options.epochs, options.rate].map(Number)

type Row = { text: string; domain?: string }

function rowsOf(path: string): Row[] {
  const bytes = readFileSync(path)
  const text = path.endsWith('.gz') ? gunzipSync(bytes).toString() : bytes.toString()
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
}

const home = mkdtempSync(join(tmpdir(), 'winnow-warmup-'))
const write = (name: string, rows: Row[]) => {
  const path = join(home, name)
  writeFileSync(path, rows.map(({ text }) => `${JSON.stringify({ text })}\n`).join(''))
  return path
}
const pool = rowsOf(poolPath)
const inDomain = pool.filter((row) => row.domain === domain)
const target = rowsOf(targetPath)
const task = write('task.jsonl', target.slice(0, Number(options.task)))
const test = write('test.jsonl', target.slice(-Number(options.test)))

const drawn = (seed: number, rows: Row[]) =>
  shuffle([...rows.keys()], randomStream(seed, 'bench/pick')).map((row) => rows[row])
const charactersOf = (rows: Row[]) => rows.reduce((total, { text }) => total + text.length, 0)

/** Rows drawn from the whole pool until they have so many characters. */
function drawCharacters(seed: number, characters: number): Row[] {
  const rows: Row[] = []
  let total = 0
  for (const row of drawn(seed, pool)) {
    if (total >= characters) break
    rows.push(row)
    total += row.text.length
  }
  return rows
}

async function nllOf(proxy: string): Promise<number> {
  const scored = { out: join(home, 'scores.parquet'), run: join(home, 'scores.run'), overwrite: true, threads }
  return (await score({ pool: [test], proxy, ...scored }, { ort })).nll
}

async function alone(name: string, seed: number, passes: number) {
  const places = { out: join(home, name), run: join(home, `${name}.run`) }
  const asked = { pool: [task], proxy: model, epochs: passes, learningRate, seed, threads, ...places }
  const { tokens } = await train(asked, { ort })
  return { nll: await nllOf(places.out), processed: tokens.processed, epoch: tokens.pool }
}

async function warmedUp(name: string, seed: number, rows: Row[]) {
  const places = { out: join(home, name), run: join(home, `${name}.run`) }
  const { pick, task: tuned } = await warmup(
    {
      ...{ model, seed, threads, ...places },
      pick: { files: [write(`${name}.jsonl`, rows)], learningRate },
      task: { files: [task], epochs, learningRate },
    },
    { ort },
  )
  const [first, nll] = [await nllOf(pick.out.path), await nllOf(tuned.out.path)]
  return { nll, first, processed: pick.processed + tuned.processed }
}

const results: { seed: number; way: string; nll: number; afterWarmup?: number; tokens: number }[] = []
const say = (
  seed: number,
  way: string,
  { nll, first, processed }: { nll: number; first?: number; processed: number },
) => {
  results.push({ seed, way, nll, afterWarmup: first, tokens: processed })
  const between = first === undefined ? '' : `, ${first.toFixed(3)} before the task`
  console.log(`seed ${seed}  ${way.padEnd(28)} ${nll.toFixed(3)} nats a token (${processed} tokens${between})`)
}

try {
  console.log(`untouched: ${(await nllOf(model)).toFixed(3)} nats a token`)
  results.push({ seed: 0, way: 'untouched', nll: await nllOf(model), tokens: 0 })
  for (let seed = 0; seed < Number(options.seeds); seed++) {
    const few = await alone(`alone-${seed}`, seed, epochs)
    say(seed, 'task alone', few)
    const pick = drawn(seed, inDomain).slice(0, Number(options.pick))
    const right = await warmedUp(`right-${seed}`, seed, pick)
    const passes = Math.round(right.processed / few.epoch)
    say(seed, 'task alone, as many tokens', await alone(`long-${seed}`, seed, passes))
    say(
      seed,
      'random pick, then task',
      await warmedUp(`random-${seed}`, seed, drawCharacters(seed, charactersOf(pick))),
    )
    say(seed, 'right domain, then task', right)
  }
  if (options.write) {
    mkdirSync('bench/results', { recursive: true })
    const asked = {
      ...options,
      write: undefined,
      pool: poolPath.split('/').at(-1),
      target: targetPath.split('/').at(-1),
    }
    const record = {
      date: new Date().toISOString(),
      machine: machine(),
      options: { ...asked, model: model.split('/').at(-1) },
      results,
    }
    writeFileSync('bench/results/warmup.json', `${JSON.stringify(record, null, 2)}\n`)
  }
} finally {
  rmSync(home, { recursive: true })
}
