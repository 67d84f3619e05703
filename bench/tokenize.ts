/**
 * Tokenising: winnow's encoder against `encodeBatch` of the `tokenizers` package, alternating in one run, every text's
 * ids compared. The peer gets batches of 1,000 texts and all cores, and is timed without reading its ids out; winnow
 * runs on one thread and is timed with its ids in typed arrays.
 *
 *   node bench/tokenize.ts [--pool rows.jsonl]… [--tokenizer name=tokenizer.json]… [--rounds 3] [--sweep] [--out results.json]
 *
 * Without arguments: examples/math.jsonl and a tokenizer of 4,096 ids trained on it. `nano` is always measured.
 * `--sweep` also compares every code point of all planes in contexts (slow).
 */

import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import { Tokenizer } from 'tokenizers'
import { loadTokenizer } from '../src/tokenizer/load.ts'
import { trainTokenizer } from '../src/tokenizer/train.ts'

const { values } = parseArgs({
  options: {
    pool: { type: 'string', multiple: true, default: [new URL('../examples/math.jsonl', import.meta.url).pathname] },
    tokenizer: { type: 'string', multiple: true, default: [] },
    rounds: { type: 'string', default: '3' },
    sweep: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
})
const BATCH = 1000
const NOT_TEXT = new Set(['source', 'domain', 'id', 'label', 'qtype', 'focus'])

const texts = values.pool.flatMap((file) =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .flatMap((line) => Object.entries(JSON.parse(line)).filter(([name]) => !NOT_TEXT.has(name)))
    .map(([, text]) => text)
    .filter((text) => typeof text === 'string'),
)
const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
const trainingStart = performance.now()
const trained = trainTokenizer(texts, { vocabularySize: 4096 })
const trainingSeconds = (performance.now() - trainingStart) / 1000
const jsons = new Map([['nano', trained.json]])
for (const argument of values.tokenizer) {
  const [name, file] = argument.split('=')
  jsons.set(name, readFileSync(file, 'utf8'))
}

/** Seconds on the clock and of all threads' processor time: other work on the machine stretches the first, not the second. */
type Timing = { clock: number; processor: number }

const timing = async (work: () => unknown): Promise<Timing> => {
  const start = performance.now()
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  return { clock: (performance.now() - start) / 1000, processor: (user + system) / 1e6 }
}
const middle = (times: number[]) => times.toSorted((a, b) => a - b)[times.length >> 1]
const median = (times: Timing[]): Timing => ({
  clock: middle(times.map(({ clock }) => clock)),
  processor: middle(times.map(({ processor }) => processor)),
})
const rounded = (value: number) => Number(value.toFixed(2))
const rate = (time: Timing) => rounded(bytes / 1e6 / time.clock)
const ratio = (library: Timing, ours: Timing) => ({
  clock: rounded(library.clock / ours.clock),
  processor: rounded(library.processor / ours.processor),
})

async function libraryPass(library: Tokenizer): Promise<void> {
  for (let i = 0; i < texts.length; i += BATCH)
    await library.encodeBatch(texts.slice(i, i + BATCH), { addSpecialTokens: false })
}

/** Texts whose ids differ. */
async function differences(json: string, samples: readonly string[]): Promise<number> {
  const library = Tokenizer.fromString(json)
  const ours = loadTokenizer(json)
  let different = 0
  for (let i = 0; i < samples.length; i += BATCH) {
    const batch = samples.slice(i, i + BATCH)
    const encodings = await library.encodeBatch(batch, { addSpecialTokens: false })
    for (const [j, encoding] of encodings.entries()) {
      const expected = encoding.getIds()
      const ids = ours.encode(batch[j])
      if (ids.length !== expected.length || expected.some((id, k) => id !== ids[k])) different++
    }
  }
  return different
}

function sweep(): string[] {
  const samples: string[] = []
  for (let codePoint = 0; codePoint < 0x110000; codePoint++) {
    if (codePoint >= 0xd800 && codePoint < 0xe000) continue
    const c = String.fromCodePoint(codePoint)
    samples.push(`a${c} ${c}1${c}${c}\n ${c}!${c}  '${c}s`)
  }
  return samples
}

const results: Record<string, unknown>[] = []
for (const [name, json] of jsons) {
  const times = { cold: [] as Timing[], warm: [] as Timing[], library: [] as Timing[], libraryWarm: [] as Timing[] }
  const load: number[] = []
  let tokens = 0
  for (let round = 0; round < Number(values.rounds); round++) {
    const start = performance.now()
    const ours = loadTokenizer(json)
    load.push((performance.now() - start) / 1000)
    tokens = 0
    const pass = () => {
      for (const text of texts) tokens += ours.encode(text).length
    }
    times.cold.push(await timing(pass))
    const library = Tokenizer.fromString(json)
    times.library.push(await timing(() => libraryPass(library)))
    tokens = 0
    times.warm.push(await timing(pass))
    times.libraryWarm.push(await timing(() => libraryPass(library)))
  }
  const swept = values.sweep ? sweep() : []
  const result = {
    tokenizer: name,
    tokens,
    loadSeconds: rounded(middle(load)),
    firstPassMBs: rate(times.cold[0]),
    coldMBs: rate(median(times.cold)),
    warmMBs: rate(median(times.warm)),
    libraryColdMBs: rate(median(times.library)),
    libraryWarmMBs: rate(median(times.libraryWarm)),
    firstPassRatio: ratio(times.library[0], times.cold[0]),
    coldRatio: ratio(median(times.library), median(times.cold)),
    warmRatio: ratio(median(times.libraryWarm), median(times.warm)),
    textsCompared: texts.length + swept.length,
    textsDifferent: (await differences(json, texts)) + (await differences(json, swept)),
  }
  results.push(result)
  console.error(result)
}

const report = {
  bench: 'tokenize',
  date: new Date().toISOString(),
  machine: { cpu: cpus()[0].model, cores: cpus().length, node: process.version, load: rounded(loadavg()[0]) },
  pools: values.pool.map((file) => basename(file)),
  texts: texts.length,
  bytes,
  rounds: Number(values.rounds),
  nanoTraining: { seconds: rounded(trainingSeconds), vocabularySize: 4096, words: trained.words },
  results,
}
if (values.out === undefined) console.log(JSON.stringify(report, null, 2))
else writeFileSync(values.out, `${JSON.stringify(report, null, 2)}\n`)
if (results.some(({ textsDifferent }) => textsDifferent !== 0)) process.exitCode = 1
