import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { emptyDirectory, fixture, winnow } from './command.ts'

const random = ['select', 'math.jsonl', '--budget', '12', '--method', 'random']
const lines = (text: string) => text.trimEnd().split('\n')

describe('select', () => {
  it('not in a terminal: plain lines on standard error, the path of the records on standard output', async () => {
    const cwd = emptyDirectory(['math.jsonl'])
    const { code, stdout, stderr } = await winnow(random, { cwd })
    expect(stderr).toMatch(/^winnow \d+\.\d+\.\d+: 12 of math.jsonl by random, seed 0\ndevice \w+ \(/)
    for (const control of ['\r', '\u001b']) expect(stderr).not.toContain(control)
    expect(stderr).toMatch(/\n1\/\d read the pool +\d+\.\d s {2}60 rows/)
    expect(stderr).toContain('Selected 12 of 60 rows (20.0 %), ')
    expect(stderr).toMatch(/\n {2}report +math.winnow\/report.html\n/)
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'math.selected.jsonl\n' })
    const pool = lines(readFileSync(fixture('math.jsonl'), 'utf8'))
    const selected = lines(readFileSync(join(cwd, 'math.selected.jsonl'), 'utf8'))
    expect(selected).toHaveLength(12)
    expect(pool.filter((line) => selected.includes(line))).toEqual(selected)
  })

  it('--json: the result as one object, progress as before; a second run takes the stages from before', async () => {
    const cwd = emptyDirectory(['math.jsonl'])
    const first = await winnow([...random, '--json'], { cwd })
    const result = JSON.parse(first.stdout)
    expect(first.stderr).toContain('read the pool')
    expect(result).toMatchObject({
      rows: 60,
      selected: 12,
      tokens: { pool: expect.any(Number), selected: expect.any(Number) },
      out: { path: 'math.selected.jsonl', sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      seconds: expect.any(Number),
      notices: expect.any(Array),
    })
    const second = await winnow([...random, '--json'], { cwd })
    expect(second.stderr).toContain('kept from before')
    expect(JSON.parse(second.stdout).out).toEqual(result.out)
  })

  it('--config does what an earlier run did; what is said beside it wins', async () => {
    const cwd = emptyDirectory(['math.jsonl'])
    await winnow([...random, '--seed', '5'], { cwd })
    const replay = (...more: string[]) => winnow(['select', '--config', 'math.winnow', ...more], { cwd })
    const again = await replay('--out', 'again.jsonl')
    expect(again.stderr).toContain('12 of math.jsonl by random, seed 5')
    expect(again.stdout).toBe('again.jsonl\n')
    const bytes = (name: string) => readFileSync(join(cwd, name), 'utf8')
    expect(bytes('again.jsonl')).toBe(bytes('math.selected.jsonl'))
    await replay('--out', 'fewer.jsonl', '--budget', '3')
    expect(lines(bytes('fewer.jsonl'))).toHaveLength(3)
  })

  it('--signal: losses recorded elsewhere, in the plan, the run and its replay', async () => {
    const cwd = emptyDirectory(['math.jsonl'])
    const lossesOf = (row: number) => [3 - row / 60, 2 - ((row * 7) % 60) / 60]
    const table = Array.from({ length: 60 }, (_, row) => [row, ...lossesOf(row)].join(',')).join('\n')
    writeFileSync(join(cwd, 'losses.csv'), `row,step_10,step_20\n${table}\n`)
    const words = ['select', 'math.jsonl', '-b', '12', '--device', 'cpu', '--signal', 'trajectories=losses.csv']
    const plan = await winnow([...words, '--dry-run'], { cwd })
    expect(plan.stderr).toContain('imported from losses.csv (60 rows x 2 checkpoints), no proxy to train')
    expect(plan.stderr).not.toContain('FLOP')
    const { code, stderr } = await winnow(words, { cwd })
    expect(code).toBe(0)
    expect(stderr).toContain('4/8 import losses')
    expect(stderr).toContain('imported from losses.csv (60 rows x 2 checkpoints), no proxy trained')
    const again = await winnow(['select', '--config', 'math.winnow', '--out', 'again.jsonl', '--json'], { cwd })
    expect(JSON.parse(again.stdout).imported).toMatchObject({ file: 'losses.csv', rows: 60, steps: [10, 20] })
    const bytes = (name: string) => readFileSync(join(cwd, name), 'utf8')
    expect(bytes('again.jsonl')).toBe(bytes('math.selected.jsonl'))
  })

  it('an output that is there stays, unless --overwrite says otherwise', async () => {
    const cwd = emptyDirectory(['math.jsonl'])
    const out = ['--out', 'math.selected.jsonl']
    await winnow([...random, ...out], { cwd })
    const before = readFileSync(join(cwd, 'math.selected.jsonl'), 'utf8')
    const refused = await winnow([...random, ...out, '--seed', '1'], { cwd })
    expect(refused.code).toBe(2)
    expect(refused.stderr).toContain('error: math.selected.jsonl: the file already exists')
    expect(readFileSync(join(cwd, 'math.selected.jsonl'), 'utf8')).toBe(before)
    const replaced = await winnow([...random, ...out, '--seed', '1', '--overwrite'], { cwd })
    expect(replaced.code).toBe(0)
    expect(readFileSync(join(cwd, 'math.selected.jsonl'), 'utf8')).not.toBe(before)
  })

  it('goes on when nobody reads', async () => {
    const cwd = emptyDirectory(['math.jsonl'])
    const { code } = await winnow(random, { cwd, watch: (child) => child.stderr?.destroy() })
    expect(code).toBe(0)
    expect(existsSync(join(cwd, 'math.selected.jsonl'))).toBe(true)
  })

  it('--dry-run prints the plan and writes nothing', async () => {
    const cwd = emptyDirectory(['math.jsonl'])
    const { code, stdout, stderr } = await winnow([...random, '--dry-run', '--json'], { cwd })
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ rows: 60, budget: { unit: 'rows', amount: 12 }, method: 'random' })
    expect(stderr).toContain('Plan (nothing was written)')
    expect(stderr).toMatch(/\n {2}pool +60 rows, /)
    expect(readdirSync(cwd)).toEqual(['math.jsonl'])
  })

  it('SIGINT: stops, says how to go on, ends with 130, and the run can be taken up', async () => {
    const cwd = emptyDirectory(['math.jsonl'])
    let struck = false
    const { code, stdout, stderr } = await winnow(['select', 'math.jsonl', '--budget', '12', '--json'], {
      cwd,
      watch: (child, text) => {
        if (struck || !text.includes('bigram')) return
        struck = true
        // A terminal's SIGINT reaches npm too, which forwards it: two signals, one key stroke.
        child.kill('SIGINT')
        child.kill('SIGINT')
      },
    })
    expect(code).toBe(130)
    expect(stderr.replaceAll('\n', ' ')).toContain('run the same command again and it goes on from there')
    expect(JSON.parse(stdout)).toEqual({ error: expect.objectContaining({ code: 'interrupted' }) })
    expect(existsSync(join(cwd, 'math.selected.jsonl'))).toBe(false)
    const after = await winnow(random, { cwd })
    expect(after.code).toBe(0)
    expect(after.stderr).toMatch(/train tokenizer +kept from before/)
  })
})
