/** `winnow warmup` through the real command line. */

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { tinyModel } from '../pipeline/models.ts'
import { emptyDirectory, winnow } from './command.ts'

function situation() {
  const cwd = emptyDirectory()
  const write = (name: string, rows: object[]) =>
    writeFileSync(join(cwd, name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
  write(
    'pick.jsonl',
    Array.from({ length: 10 }, (_, i) => ({
      abstract: `Lily and Tim found ${i} balls${' in the park'.repeat(i % 3)}.`,
    })),
  )
  write(
    'task.jsonl',
    Array.from({ length: 10 }, (_, i) => ({ question: `What is ${i} and ${i}?`, answer: `It is ${2 * i}, said Tim.` })),
  )
  tinyModel(join(cwd, 'model'))
  const words = ['--model', 'model', '--pool-pick', 'pick.jsonl', '--pick-fields', 'text=abstract']
  const warm = (...more: string[]) =>
    winnow(['warmup', ...words, '--device', 'cpu', '--threads', '1', ...more], { cwd })
  const run = (...more: string[]) => warm('--task', 'task.jsonl', ...more)
  return { cwd, run, warm }
}

describe('warmup', () => {
  it('says what both stages did, where the models are and what to do next', async () => {
    const { cwd, run } = situation()
    const { code, stdout, stderr } = await run('--task-epochs', '2', '--task-learning-rate', '1e-3')
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'pick.warmup/task\n' })
    expect(stderr).toContain('winnow 0.1.0: warm-up of model on pick.jsonl, then task.jsonl\n')
    expect(stderr).toMatch(/1\/9 pick: read +[\d.]+ s {2}10 rows, format text/)
    expect(stderr).toMatch(/9\/9 task: save +[\d.]+ s/)
    expect(stderr).toContain('Warmed up 35 k parameters on 10 rows, then tuned them on 10 of the task.')
    expect(stderr).toMatch(
      /rows +10 rows, 1 epoch, \d+ steps?\n +tokens +[\d,]+ processed\n +loss +\d\.\d{3} → \d\.\d{3} nats a token/,
    )
    expect(stderr).toMatch(/rows +10 rows, 2 epochs, \d+ steps\n/)
    expect(stderr).toMatch(/model +pick\.warmup\/warmup \([\d.]+ kB\)[\s\S]*model +pick\.warmup\/task \([\d.]+ kB\)/)
    expect(stderr).toContain('winnow score held-out.jsonl --proxy pick.warmup/task\n')
    expect(readdirSync(cwd).sort()).toEqual(['model', 'pick.jsonl', 'pick.warmup', 'pick.warmup.winnow', 'task.jsonl'])
    // The same again, as one object.
    const again = await run('--task-epochs', '2', '--task-learning-rate', '1e-3', '--json')
    const result = JSON.parse(again.stdout)
    expect(result).toMatchObject({
      pick: { rows: 10, epochs: 1 },
      task: { rows: 10, epochs: 2 },
      out: { path: 'pick.warmup/task' },
    })
    expect(result.stages.filter(({ cached }: { cached: boolean }) => cached)).toHaveLength(6)
  })

  it('plans for other trainers, or only counts', async () => {
    const { cwd, run } = situation()
    const counted = await run('--dry-run')
    expect(counted).toMatchObject({ code: 0, stdout: '' })
    expect(counted.stderr).toMatch(
      /Plan \(nothing was written\)\n\n +model +model, 35 k parameters\n +warm-up +10 rows, [\d,]+ tokens, 1 epoch/,
    )
    expect(existsSync(join(cwd, 'pick.warmup'))).toBe(false)
    const planned = await run('--plan-only', '--out', 'plans')
    expect(planned).toMatchObject({ code: 0, stdout: 'plans/plan/plan.json\n' })
    expect(planned.stderr).toContain('Planned two stages; nothing was trained.')
    expect(planned.stderr).toMatch(/beside it +pick\.jsonl, task\.jsonl, trl-1-warmup\.yaml/)
    expect(readdirSync(join(cwd, 'plans'))).toEqual(['plan'])
    const row = readFileSync(join(cwd, 'plans/plan/pick.jsonl'), 'utf8').split('\n')[0]
    expect(JSON.parse(row)).toEqual({ text: 'Lily and Tim found 0 balls.' })
  })

  it('refuses what cannot be, with 2, and leaves everything as it was', async () => {
    const { cwd, warm } = situation()
    const before = readdirSync(cwd).sort()
    const cases: [words: string[], says: string][] = [
      [['--task', 'task.jsonl', '--model', 'nano'], 'winnow train pool.jsonl --model nano --out'],
      [['--task', 'pick.jsonl', '--task-fields', 'text=abstract'], 'the file is task and pick at once'],
      [['--task', 'task.jsonl', '--pick-learning-rate', '3'], 'It takes a number between 0 and 1'],
      [['--task', 'nowhere.jsonl'], 'nowhere.jsonl: no such file'],
    ]
    for (const [words, says] of cases) {
      const { code, stdout, stderr } = await warm(...words)
      expect({ code, stdout }, words.join(' ')).toEqual({ code: 2, stdout: '' })
      expect(stderr).toContain(says)
      expect(readdirSync(cwd).sort()).toEqual(before)
    }
  })
})
