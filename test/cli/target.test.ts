import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { writeTargetFiles } from '../pipeline/targets.ts'
import { emptyDirectory, winnow } from './command.ts'

const encoder = fileURLToPath(new URL('../fixtures/encoder/tiny-bert', import.meta.url))

it('picks toward a target, says what it compared and found, and what comes next', async () => {
  const cwd = emptyDirectory()
  writeTargetFiles(cwd, { rows: 300, targets: 30 })
  const words = [
    'select',
    'pool.jsonl',
    '--method',
    'got-d',
    '--target',
    'task.jsonl',
    '--budget',
    '25',
    '--device',
    'cpu',
  ]
  const { code, stdout, stderr } = await winnow(words, { cwd })
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'pool.selected.jsonl\n' })
  for (const text of [
    ...['read the target', 'count n-grams', 'embed the pool', 'domain test', 'solve transport', 'score the pool'],
    ...['Selected 25 of 300 rows', '30 rows, compared by ngrams', 'product-reviews', 'winnow warmup --model'],
  ])
    expect(stderr.replaceAll(/\s+/g, ' ')).toContain(text)
  const picked = readFileSync(join(cwd, 'pool.selected.jsonl'), 'utf8')

  const replayed = await winnow(
    ['select', '--config', 'pool.winnow', '--run', 'again', '--out', 'again.jsonl', '--json'],
    { cwd },
  )
  expect(readFileSync(join(cwd, 'again.jsonl'), 'utf8')).toBe(picked)
  const result = JSON.parse(replayed.stdout)
  expect(result.target).toMatchObject({ rows: 30, embedding: { name: 'ngrams' }, transport: { converged: true } })
  expect(result.target.domains[0].name).toBe('product-reviews')
})

it('compares by an encoder from a directory, and keeps its vectors for the next method', async () => {
  const cwd = emptyDirectory()
  writeTargetFiles(cwd, { rows: 60, targets: 6 })
  const words = [
    'select',
    'pool.jsonl',
    '--target',
    'task.jsonl',
    '--budget',
    '9',
    '--device',
    'cpu',
    '--embedding',
    encoder,
  ]
  const first = await winnow([...words, '--method', 'got-d', '--domains', 'all', '--json'], { cwd })
  expect(JSON.parse(first.stdout).target.embedding).toEqual({ name: encoder, dimensions: 32 })
  const second = await winnow([...words, '--method', 'tapt-knn', '--out', 'knn.jsonl', '--json'], { cwd })
  const cached = (name: string) =>
    JSON.parse(second.stdout).stages.find((stage: { name: string }) => stage.name === name).cached
  expect([cached('embeddings'), cached('target-embeddings'), cached('neighbours')]).toEqual([true, true, false])
})

it('says what a pick toward a target would take, and writes nothing', async () => {
  const cwd = emptyDirectory()
  writeTargetFiles(cwd, { rows: 100, targets: 10 })
  const words = ['select', 'pool.jsonl', '--target', 'task.jsonl', '--budget', '9', '--device', 'cpu', '--dry-run']
  for (const more of [
    ['--method', 'got-d'],
    ['--method', 'dsir'],
    ['--method', 'tapt-knn', '--embedding', encoder],
  ]) {
    const { code, stdout } = await winnow([...words, ...more, '--json'], { cwd })
    const plan = JSON.parse(stdout)
    expect(code).toBe(0)
    expect(plan.target.rows).toBe(10)
    expect(plan.secondsTotal).toBeGreaterThan(0)
    expect(plan.diskBytes).toBeGreaterThan(100)
  }
  const page = await winnow([...words, '--method', 'got-d'], { cwd })
  expect(page.stderr).toMatch(/solve 10 x 100/)
})
