/** Methods as `--methods` names them. */

import { describe, expect, it } from 'vitest'
import { parseMethods } from '../../src/comparison/specification.ts'

const labels = (names: string[], set = {}, target = true) =>
  parseMethods(names, set, { target }).entries.map(({ label }) => label)

describe('the list of methods', () => {
  it('puts random first where it is not named', () => {
    expect(labels(['s2l'])).toEqual(['random', 's2l'])
    expect(labels(['s2l', 'random'])).toEqual(['s2l', 'random'])
  })

  it('reads options behind colons, through the method’s own schema', () => {
    const [, entry] = parseMethods(['s2l:clusters=50:stratify=source'], {}, { target: false }).entries
    expect(entry.label).toBe('s2l:clusters=50:stratify=source')
    expect(entry.options).toMatchObject({ clusters: 50, stratify: 'source', checkpoints: 12 })
  })

  it('gives --set to every method that has the option, and refuses one that none has', () => {
    const { entries } = parseMethods(['s2l', 'random'], { checkpoints: '6' }, { target: false })
    expect(entries[0].options).toMatchObject({ checkpoints: 6 })
    expect(entries[1].options).toEqual({})
    expect(() => labels(['s2l'], { chekpoints: '6' })).toThrow(/no method of the comparison has this option/)
  })

  it('stands for all methods whose needs can be met, and names those left out', () => {
    const without = parseMethods(['all'], {}, { target: false })
    expect(without.leftOut).toEqual(expect.arrayContaining(['got-d', 'dsir', 'tapt-knn', 'dapt']))
    expect(without.entries.map(({ method }) => method.name)).not.toContain('got-d')
    expect(labels(['all'])).toEqual(expect.arrayContaining(['s2l', 'got-d', 'random']))
  })

  it.each([
    ['an unknown name', ['s2m'], 'unknown-method'],
    ['no name', ['', ' '], 'no-methods'],
    ['an unknown option', ['s2l:cluster=3'], 'bad-method'],
    ['a checkpoint for a method without', ['random@early'], 'bad-method'],
    ['an impossible value', ['s2l:clusters=0'], 'bad-option'],
    ['one name twice', ['s2l', 's2l'], 'repeated-method'],
  ])('refuses %s', (_, names, code) => {
    let found: unknown
    try {
      labels(names)
    } catch (error) {
      found = (error as { fault?: { code: string } }).fault?.code
    }
    expect(found).toBe(code)
  })
})
