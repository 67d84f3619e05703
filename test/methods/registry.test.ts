import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { describeOptions, parseOptions } from '../../src/methods/options.ts'
import { random } from '../../src/methods/random.ts'
import { findMethod, methods } from '../../src/methods/registry.ts'
import { s2l } from '../../src/methods/s2l.ts'
import { categories, signal } from '../../src/signals/signal.ts'

/** Numbers between 0 and 1, and as much more, row-major [rows, columns]. */
const waves = (rows: number, columns: number, more = 0) =>
  Float32Array.from({ length: rows * columns }, (_, i) => more + 0.5 + Math.sin(i * 7.1) / 2.1)

describe('the registry', () => {
  test('finds methods by name and lists them when there is none', () => {
    expect(findMethod('s2l')).toBe(s2l)
    const names = methods.map(({ name }) => name).join(', ')
    expect(names).toMatch(/^s2l, .*, random$/)
    expect(() => findMethod('s3l')).toThrow(`found s3l, expected ${names}`)
  })

  test('has every option described and with a default, and unique names', () => {
    expect(new Set(methods.map((method) => method.name)).size).toBe(methods.length)
    for (const method of methods)
      for (const option of describeOptions(method)) {
        expect(option.description, `${method.name} ${option.name}`).not.toBe('')
        expect(option.default, `${method.name} ${option.name}`).not.toBe('undefined')
      }
  })

  test('has one meaning and one default for an option that several methods have', () => {
    const met = new Map<string, string>()
    for (const method of methods)
      for (const { name, ...rest } of describeOptions(method)) {
        const told = JSON.stringify(rest)
        expect(met.get(name) ?? told, `${method.name} ${name}`).toBe(told)
        met.set(name, told)
      }
  })

  test('selects whole rows of the pool in ascending order, and columns over all rows, with every method', () => {
    const rows = 200
    const signals = {
      clusters: signal(
        'clusters',
        Uint32Array.from({ length: rows }, (_, row) => row % 7),
      ),
      tokens: signal('tokens', new Uint32Array(rows).fill(9)),
      source: categories(
        'source',
        Array.from({ length: rows }, (_, row) => `domain ${row % 5}`),
        rows,
      ),
      copies: signal(
        'copies',
        Uint32Array.from({ length: rows }).map((_, row) => row),
      ),
      distance: signal(
        'distance',
        Float64Array.from({ length: rows }, (_, row) => 1 + (row % 5)),
        { provenance: { self: 0.5, unrelated: 6 } },
      ),
      potential: signal(
        'potential',
        Float64Array.from({ length: rows }, (_, row) => Math.sin(row)),
      ),
      candidate: signal('candidate', new Uint8Array(rows).fill(1)),
      nearest: signal('nearest', new Uint32Array(rows)),
      nearest_cost: signal('nearest_cost', new Float32Array(rows)),
      importance: signal(
        'importance',
        Float64Array.from({ length: rows }, (_, row) => Math.cos(row)),
      ),
      order: signal(
        'order',
        Int32Array.from({ length: rows }, (_, row) => (row * 77) % rows),
      ),
      taken_by: signal('taken_by', new Int32Array(rows)),
      coverage: signal(
        'coverage',
        Int32Array.from({ length: rows }, (_, row) => (row * 77) % rows),
      ),
      gain: signal('gain', new Float64Array(rows)),
      spread: signal(
        'spread',
        Int32Array.from({ length: rows }, (_, row) => (row * 31) % rows),
      ),
      spread_distance: signal('spread_distance', new Float64Array(rows)),
      redundancy: signal(
        'redundancy',
        Float64Array.from({ length: rows }, (_, row) => Math.cos(row)),
      ),
      near_to: signal('near_to', new Int32Array(rows)),
      cell: signal(
        'cell',
        Int32Array.from({ length: rows }, (_, row) => row % 3),
      ),
      centroid_similarity: signal('centroid_similarity', new Float64Array(rows)),
      similarity: signal('similarity', new Float32Array(rows)),
      trajectories: signal('trajectories', waves(rows, 12), { columns: 12 }),
      confidence: signal('confidence', waves(rows, 12), { columns: 12 }),
      initial: signal('initial', waves(rows, 1, 5)),
      // Above every loss with the prompt: no row is left out.
      unconditional: signal('unconditional', waves(rows, 1, 9)),
      lengths: signal(
        'lengths',
        Uint32Array.from({ length: rows }, (_, row) => 1 + (row % 40)),
      ),
    }
    for (const method of methods)
      for (const budget of [{ unit: 'rows', rows: 31 } as const, { unit: 'tokens', tokens: 31 * 9 } as const]) {
        const { selected, columns, groups, tokens } = method.select({
          rows,
          budget,
          signals,
          options: parseOptions(method, {}),
          seed: 1,
        })
        expect(selected).toBeInstanceOf(Uint32Array)
        expect(selected.length).toBe(31)
        expect(tokens).toBe(31 * 9)
        expect([...selected]).toEqual([...new Set(selected)].sort((a, b) => a - b))
        expect(Math.max(...selected)).toBeLessThan(rows)
        for (const column of Object.values(columns)) expect(column.length).toBe(rows)
        expect(groups.reduce((total, group) => total + group.selected, 0)).toBe(31)
        // Whatever a method needs of computed signals, it lists after what they are computed from.
        const needs = method.needs(parseOptions(method, {}), budget.unit)
        for (const [i, need] of needs.entries())
          if ('of' in need) expect(needs.slice(0, i).map((one) => one.signal)).toContain(need.of)
      }
  })
})

describe('options', () => {
  test('are described as one types them', () => {
    const described = describeOptions(s2l)
    expect(described.map((option) => option.flag)).toEqual([
      '--clusters <auto|n>',
      '--checkpoints <n>',
      '--stratify <none|source>',
      '--normalise <none|standard>',
      '--restarts <n>',
      '--iterations <n>',
      '--unscored <exclude|cluster>',
    ])
    expect(described.map((option) => option.default)).toEqual(['auto', '12', 'none', 'none', '3', '20', 'exclude'])
    expect(described[2].choices).toEqual(['none', 'source'])
  })

  test('take text from the command line and fill in defaults', () => {
    expect(parseOptions(s2l, { clusters: '50', stratify: 'source' })).toEqual({
      clusters: 50,
      checkpoints: 12,
      stratify: 'source',
      normalise: 'none',
      restarts: 3,
      iterations: 20,
      unscored: 'exclude',
    })
  })

  test.each([
    [{ clusters: '0' }, 'bad-option', '--clusters', 'auto|n'],
    [{ clusters: 'many' }, 'bad-option', '--clusters', 'auto|n'],
    [{ checkpoints: '2.5' }, 'bad-option', '--checkpoints', 'n'],
    [{ stratify: 'domain' }, 'bad-option', '--stratify', 'none or source'],
    [{ cluster: '3' }, 'unknown-option', '--cluster', '--clusters, --checkpoints'],
  ])('%j are refused as %s at %s', (given, code, path, expected) => {
    try {
      parseOptions(s2l, given as object as Record<string, unknown>)
      expect.unreachable()
    } catch (error) {
      expect(error).toMatchObject({ kind: 'usage', fault: { code, path, expected: expect.stringContaining(expected) } })
    }
  })

  test('of a method without any are none', () => {
    expect(describeOptions(random)).toEqual([])
    expect(parseOptions(random, {})).toEqual({})
  })

  test('keep a switch a switch', () => {
    const method = { ...random, options: z.object({ keepAll: z.boolean().default(false).describe('x') }) }
    expect(describeOptions(method)[0].flag).toBe('--keep-all')
  })
})
