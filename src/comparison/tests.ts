/** The test sets: read, tokenised for the target, and looked for in the pool. */

import { createHash } from 'node:crypto'
import { type Dataset, openDataset } from '../dataset/dataset.ts'
import type { Turn } from '../dataset/record.ts'
import { WinnowError } from '../errors.ts'
import { type Context, notify } from '../pipeline/context.ts'
import { readPool, type Tokens, tokenisePool } from '../pipeline/pool.ts'
import { windowLabels } from '../training/trajectories.ts'
import type { ResolvedCompareOptions } from './options.ts'
import { sectionOf, type TargetModel } from './target-model.ts'

export interface Test extends Disposable {
  name: string
  dataset: Dataset
  tokens: Tokens
  /** Rows with a scored token inside the window, ascending; scores are of these. */
  rows: Uint32Array
  /** Scored tokens. */
  labels: number
}

/** @throws {WinnowError} as `openDataset`. */
export async function openTests({ tests, ...options }: ResolvedCompareOptions): Promise<Dataset[]> {
  const { testFields, testTemplate, onBadRow, memoryLimit } = options
  const opened: Dataset[] = []
  for (const { file } of tests)
    opened.push(await openDataset([file], { fields: testFields, template: testTemplate, onBadRow, memoryLimit }))
  return opened
}

/**
 * Rows with a label inside the window, and of them those that are scored.
 *
 * @throws {WinnowError} `nothing-to-score`.
 */
export function scoredRows(
  labels: Uint32Array,
  { name, file, testRows, maxLength }: { name: string; file: string; testRows?: number; maxLength: number },
): { scored: Uint32Array; rows: Uint32Array } {
  const scored = Uint32Array.from(labels.keys()).filter((row) => labels[row] > 0)
  if (scored.length > 0) return { scored, rows: scored.slice(0, testRows) }
  throw new WinnowError('input', {
    code: 'nothing-to-score',
    message: `no row of the test set ${name} has a scored token within ${maxLength} tokens`,
    file,
    found: `${labels.length} rows`,
    expected: 'prompts shorter than the window',
    hint: 'Raise --max-length.',
  })
}

/** Reads and tokenises each set with the target's tokenizer. The caller disposes of them. */
export async function readTests(
  context: Context<ResolvedCompareOptions>,
  datasets: readonly Dataset[],
  target: TargetModel,
): Promise<Test[]> {
  const { tests, testFields, testTemplate, testRows } = context.options
  const read: Test[] = []
  for (const [i, dataset] of datasets.entries()) {
    const { name, file } = tests[i]
    const section = sectionOf(context, `test${i + 1}`, target)
    const own = { ...section, options: { ...section.options, fields: testFields, template: testTemplate } }
    const pool = await readPool(own, dataset)
    const tokens = await tokenisePool(own, dataset, pool, target.tokens)
    const labels = windowLabels(tokens.store, target.maxLength)
    const { scored, rows } = scoredRows(labels, { name, file, testRows, maxLength: target.maxLength })
    if (scored.length < tokens.store.count)
      notify(context, {
        code: 'unscored-rows',
        message: `${name}: ${tokens.store.count - scored.length} of ${tokens.store.count} test rows have no scored token in the window and are left out`,
      })
    read.push({
      ...{ name, dataset, tokens, rows },
      labels: rows.reduce((total, row) => total + labels[row], 0),
      [Symbol.dispose]: () => tokens[Symbol.dispose](),
    })
  }
  return read
}

/**
 * Looks every test row up in the pool, by its text without regard to case and white space, and says how many are there: a model tuned on them has
 * seen their answers, and its scores say nothing. Holds one hash a test row; reads the pool once.
 */
export async function tellOfLeaks(
  context: Context<ResolvedCompareOptions>,
  pool: Dataset,
  tests: readonly Test[],
): Promise<void> {
  const wanted = new Map<string, { test: Test; row: number }[]>()
  for (const test of tests)
    for await (const { records } of test.dataset.batches({ signal: context.signal }))
      for (const { turns, row } of records) {
        const key = textKey(turns)
        const same = wanted.get(key)
        if (same === undefined) wanted.set(key, [{ test, row }])
        else same.push({ test, row })
      }
  const found = new Map<Test, Set<number>>()
  for await (const { records } of pool.batches({ signal: context.signal }))
    for (const { turns } of records)
      for (const { test, row } of wanted.get(textKey(turns)) ?? []) {
        const rows = found.get(test)
        if (rows === undefined) found.set(test, new Set([row]))
        else rows.add(row)
      }
  for (const [{ name, tokens }, { size }] of found)
    notify(context, {
      code: 'leak',
      message: `${size === 1 ? 'a row' : `${size.toLocaleString('en')} of ${tokens.store.count.toLocaleString('en')} rows`} of the test set ${name} ${size === 1 ? 'is' : 'are'} in the pool: models trained on them have seen the answers`,
      rows: size,
    })
}

function textKey(turns: readonly Turn[]): string {
  const hash = createHash('sha256')
  for (const { content } of turns) hash.update(content.toLowerCase().replaceAll(/\s+/g, ' ').trim()).update('\0')
  return hash.digest('base64')
}
