import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseVary } from '../../src/cli/ablate.ts'
import { poolLines, writePool } from '../pipeline/pools.ts'
import { emptyDirectory, winnow } from './command.ts'

describe('winnow analyse', () => {
  it('says where its page is, and with --json all of its numbers', async () => {
    const cwd = emptyDirectory()
    writePool(join(cwd, 'math.jsonl'), poolLines({ svamp: 40, gsm8k: 20 }))
    const select = await winnow(['select', 'math.jsonl', '-b', '30%', '-m', 'random', '--device', 'cpu'], { cwd })
    expect(select.code).toBe(0)
    const words = ['analyse', 'math.winnow', '--sample', '0', '--permutations', '50', '--device', 'cpu']
    const { code, stdout, stderr } = await winnow(words, { cwd })
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${join('math.winnow', 'analysis.html')}\n` })
    expect(stderr).toContain('18 of 60 rows, picked by random.')
    expect(stderr).toContain('of the pick would have to change topic')
    const { stdout: json } = await winnow([...words, '--json'], { cwd })
    const numbers = JSON.parse(readFileSync(join(cwd, 'math.winnow/analysis.json'), 'utf8'))
    expect(JSON.parse(json)).toMatchObject({ ...numbers, method: 'random', rows: 60, selected: 18 })
  })
})

describe('winnow ablate', () => {
  it('shows the picks beside each other', async () => {
    const cwd = emptyDirectory(['math.jsonl'])
    const words = ['ablate', 'math.jsonl', '-b', '30%', '-m', 'random', '--vary', 'seed=1', '--vary', 'budget=10,30%']
    const { code, stdout, stderr } = await winnow([...words, '--device', 'cpu'], { cwd })
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${join('math.ablation.winnow', 'ablation.html')}\n` })
    // Another draw of a random pick is that of the next seed; 30 % is the base.
    expect(stderr).toContain('4 picks of 60 rows')
    expect(stderr).toMatch(/1 +base, budget=30% +18 +100 %/)
    expect(stderr).toMatch(/4 +budget=10 +10 +/)
    expect(
      readFileSync(join(cwd, 'math.ablation.winnow/ablation/budget-10.jsonl'), 'utf8').trim().split('\n'),
    ).toHaveLength(10)
  })

  it('reads variations given together and apart', () => {
    expect(parseVary(['checkpoints=3,6', 'seed=1', 'checkpoints=12, 3'])).toEqual({
      checkpoints: ['3', '6', '12'],
      seed: ['1'],
    })
    for (const text of ['checkpoints', 'checkpoints=', 'checkpoints=3,,6', '=3'])
      expect(() => parseVary([text])).toThrow(
        expect.objectContaining({ fault: expect.objectContaining({ code: 'bad-option', found: text }) }),
      )
  })
})
