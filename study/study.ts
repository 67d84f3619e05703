/**
 * The study of docs/results.md, from data to report: every method, three budgets, three seeds, on a pool of mathematics and medical dialogues.
 *
 *     npm run study                     # an hour and a half on two cores that other work shared
 *     npm run study -- --reduced        # a smaller form, 4 min 45 s on two idle ones: an eighth of the rows, two budgets, five methods, 60 steps
 *
 * Data: ../shared/data (--data), with its licences and its evaluation rules: only the test split of GSM8K and the validation split of
 * MTS-Dialog, neither of which is in the pool, score anything. Everything is written into --work, and a stopped study goes on when it is
 * started again. With --keep the data of the comparison replaces study/results/.
 */

import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { openDataset } from '../src/dataset/dataset.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const { values } = parseArgs({
  options: {
    data: { type: 'string', default: join(root, '../shared/data') },
    work: { type: 'string', default: 'winnow-study' },
    reduced: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    threads: { type: 'string' },
  },
})
const data = resolve(values.data)
const work = resolve(values.work, values.reduced ? 'reduced' : 'full')
mkdirSync(work, { recursive: true })

type Row = Record<string, unknown>
const parse = (text: string): Row[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Row)
const gz = (name: string) => parse(gunzipSync(readFileSync(join(data, name))).toString())
const write = (name: string, rows: readonly Row[]): void =>
  writeFileSync(join(work, name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''))

function winnow(...words: string[]): void {
  console.error(`\n$ winnow ${words.join(' ')}`)
  const threads = values.threads === undefined ? [] : ['--threads', values.threads]
  const options = { cwd: work, stdio: ['ignore', 'ignore', 'inherit'] as ['ignore', 'ignore', 'inherit'] }
  const { status } = spawnSync(process.execPath, [join(root, 'src/cli/main.ts'), ...words, ...threads], options)
  if (status !== 0) process.exit(status ?? 1)
}

/** Rows of GSM8K's training split that are taken out of the pool: the target set, and where recipes are tried. */
const DEVELOPMENT = 500

/** Domains of domain-pool that are neither mathematics nor medicine: what the base models were trained on. */
const isGeneral = ({ domain }: Row) => !/^(gsm8k|medquad)/.test(domain as string)

const thin = (rows: Row[], every: number) => rows.filter((_, i) => i % every === 0)

/** MTS-Dialog's validation split in the pool's form, without the dialogue that is in the pool too. */
async function writeDialogues(pool: readonly Row[]): Promise<void> {
  const file = join(data, 'mts-dialog/MTS-Dialog-ValidationSet.csv')
  const known = new Set(pool.map(({ question }) => question))
  const fields = 'prompt=dialogue,response=section_text'
  const rows: Row[] = []
  for await (const { records } of (await openDataset([file], { fields, onBadRow: 'stop' })).batches())
    for (const { turns } of records) rows.push({ question: turns[0].content, answer: turns[1].content })
  write(
    'dialogues-test.jsonl',
    rows.filter(({ question }) => !known.has(question)),
  )
}

if (!existsSync(join(work, 'pool.jsonl'))) {
  const every = values.reduced ? 8 : 1
  write('general.jsonl', thin(gz('domain-pool.jsonl.gz').filter(isGeneral), every).map(({ text }) => ({ text })))
  const mixed = gz('mixed-pool.jsonl.gz')
  const gsm8k = mixed.filter(({ source }) => source === 'gsm8k')
  const held = new Set(gsm8k.slice(0, DEVELOPMENT))
  write('target.jsonl', [...held])
  await writeDialogues(mixed)
  const test = parse(readFileSync(join(data, 'gsm8k/test.jsonl'), 'utf8'))
  write('gsm8k-test.jsonl', thin(test, every))
  // Written last: where it is, everything is.
  write('pool.jsonl', thin(mixed.filter((row) => !held.has(row)), every))
}
const sizes = { proxy: 'nano:64x2', base: 'nano:128x2' }
for (const [name, size] of Object.entries(sizes))
  if (!existsSync(join(work, name, 'config.json')))
    winnow('train', 'general.jsonl', '--model', size, '--out', name, '--run', `${name}.run`, '--checkpoints', '2')

// The recipe was chosen on target.jsonl, which is in no pool and no test set (docs/results.md).
const recipe = ['--learning-rate', '4e-3', '--batch', '8', '--steps', values.reduced ? '60' : '150']
const proxy = ['--proxy', './proxy', '--proxy-learning-rate', '4e-3', '--proxy-batch', '8']
winnow(
  ...['compare', 'pool.jsonl', '--run', 'comparison', '--target', 'target.jsonl', '--target-model', './base'],
  ...['--methods', values.reduced ? 's2l,least-confidence,facility-location,got-d,dsir' : 'all'],
  ...['--budgets', values.reduced ? '10%,30%' : '5%,10%,30%', '--seeds', '3'],
  ...['--test', 'gsm8k=gsm8k-test.jsonl', '--test', 'dialogues=dialogues-test.jsonl'],
  ...['--max-length', '384', '--set', `checkpoints=${values.reduced ? 4 : 12}`],
  ...[...recipe, ...proxy],
)

if (values.keep) {
  const results = join(root, 'study/results')
  mkdirSync(results, { recursive: true })
  for (const name of ['comparison.json', 'comparison.html', 'comparison.md', 'manifest.json'])
    copyFileSync(join(work, 'comparison', name), join(results, name))
}
