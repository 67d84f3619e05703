import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ResolvedBudget } from '../../src/methods/budget.ts'
import { copiesOf, distinctCandidates } from '../../src/methods/candidates.ts'
import { dapt } from '../../src/methods/dapt.ts'
import { domainDistances, nearestDomains } from '../../src/methods/domains.ts'
import { dsir } from '../../src/methods/dsir.ts'
import { gotD } from '../../src/methods/got-d.ts'
import type { Method } from '../../src/methods/method.ts'
import { parseOptions } from '../../src/methods/options.ts'
import { findMethod } from '../../src/methods/registry.ts'
import { taptKnn } from '../../src/methods/tapt-knn.ts'
import { categories, type Signals, signal } from '../../src/signals/signal.ts'

const byRows = (rows: number): ResolvedBudget => ({ unit: 'rows', rows })

function select(method: Method, signals: Signals, budget: ResolvedBudget, given: object = {}, seed = 1) {
  const rows = Object.values(signals)[0]!.rows
  return method.select({ rows, budget, signals, options: parseOptions(method, { ...given }), seed })
}

const floats = (name: string, values: number[]) => signal(name, Float64Array.from(values))

/** Signals of GOT-D where only potentials are of interest. */
function scored(potential: number[], more: Partial<Record<string, number[]>> = {}): Signals {
  const rows = potential.length
  const {
    candidate = new Array(rows).fill(1),
    copies = potential.map((_, row) => row),
    distance = new Array(rows).fill(1),
  } = more
  return {
    potential: floats('potential', potential),
    candidate: signal('candidate', Uint8Array.from(candidate)),
    copies: signal('copies', Uint32Array.from(copies)),
    distance: signal('distance', Float64Array.from(distance), {
      provenance: { near: distance[0], own: 0.95, unrelated: 2 },
    }),
    nearest: signal('nearest', new Uint32Array(rows)),
    nearest_cost: signal('nearest_cost', new Float32Array(rows)),
    ...(more.distinct && { distinct: signal('distinct', Int32Array.from(more.distinct)) }),
  }
}

describe('got-d', () => {
  test('takes the lowest gradients, ties by row, and with --contrast the highest', () => {
    const signals = scored([3, 1, 2, 1, 0, 5])
    expect([...select(gotD, signals, byRows(3)).selected]).toEqual([1, 3, 4])
    expect([...select(gotD, signals, byRows(2)).selected]).toEqual([1, 4])
    expect([...select(gotD, signals, byRows(2), { contrast: true }).selected]).toEqual([0, 5])
  })

  test('gives calibrated gradients: each potential less the mean of the others', () => {
    const { columns } = select(gotD, scored([1, 2, 6]), byRows(1))
    expect([...(columns.gradient as Float64Array)]).toEqual([-3, -1.5, 4.5])
  })

  test('never picks a row that is no candidate or repeats an earlier text, but scores it', () => {
    const signals = scored([0, 1, 2, 3, 4], { candidate: [0, 1, 1, 1, 1], copies: [0, 1, 1, 3, 4] })
    const { selected, columns, notices } = select(gotD, signals, byRows(5))
    expect([...selected]).toEqual([1, 3, 4])
    expect([...(columns.candidate as Uint8Array)]).toEqual([0, 1, 0, 1, 1])
    // The mass that moves is that of rows 1, 3 and 4; the others have their place on the same scale.
    const gradient = columns.gradient as Float64Array
    expect(gradient[1] + gradient[3] + gradient[4]).toBeCloseTo(0, 12)
    expect(gradient[0]).toBeLessThan(gradient[1])
    expect(notices).toContainEqual(expect.objectContaining({ code: 'under-filled', rows: 2 }))
  })

  test('with --duplicates near passes over rows that are near to a preferred one', () => {
    const signals = scored([0, 1, 2, 3], { distinct: [0, 0, 2, -1] })
    const { selected, columns } = select(gotD, signals, byRows(2), { duplicates: 'near' })
    expect([...selected]).toEqual([0, 2])
    expect([...(columns.near_to as Int32Array)]).toEqual([0, 0, 2, -1])
    // The last one was not looked at: it could be picked at a larger budget.
    expect([...(columns.candidate as Uint8Array)]).toEqual([1, 0, 1, 1])
  })

  test('with --duplicates keep takes copies like any other row', () => {
    const { copies: _, ...signals } = scored([0, 0, 5])
    expect([...select(gotD, signals, byRows(2), { duplicates: 'keep' }).selected]).toEqual([0, 1])
  })

  test('warns of a budget under a thousandth of the pool, and of a pool far from the target', () => {
    const rows = 4000
    const many = scored(Array.from({ length: rows }, (_, row) => row))
    expect(select(gotD, many, byRows(3)).notices.map(({ code }) => code)).toEqual(['small-budget'])
    expect(select(gotD, many, byRows(4)).notices).toEqual([])
    const far = scored([1, 2], { distance: [1.9, 1.9] })
    expect(select(gotD, far, byRows(1)).notices.map(({ code }) => code)).toEqual(['far-target'])
    expect(select(gotD, far, byRows(1), { contrast: true }).notices).toEqual([])
  })

  test('a smaller budget selects a subset of a larger one, whatever the potentials', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 2, maxLength: 40 }),
        (potential) => {
          const signals = scored(potential)
          const larger = new Set(select(gotD, signals, byRows(potential.length - 1)).selected)
          for (const row of select(gotD, signals, byRows(Math.ceil(potential.length / 2))).selected)
            expect(larger.has(row)).toBe(true)
        },
      ),
    )
  })

  test('asks for the domains nearest to the target, and for all of them in contrast', () => {
    const domains = (given: object) =>
      gotD.needs(parseOptions(gotD, { ...given }), 'rows').find((need) => need.signal === 'potential')
    expect(domains({})).toMatchObject({ domains: 'auto' })
    expect(domains({ contrast: true })).toMatchObject({ domains: 'all' })
    expect(domains({ contrast: true, domains: '3' })).toMatchObject({ domains: 3 })
    expect(domains({ domains: 'all' })).toMatchObject({ domains: 'all' })
  })
})

describe('candidates', () => {
  test('are each text once: the first candidate with it, though the first copy of all be in a source that was not kept', () => {
    const copies = [0, 1, 0, 1, 0]
    expect([...distinctCandidates([0, 1, 1, 1, 1], copies)]).toEqual([1, 2])
    expect([...distinctCandidates([0, 1, 1, 1, 1])]).toEqual([1, 2, 3, 4])
    expect([...copiesOf(Uint32Array.from([1, 2]), [0, 1, 1, 1, 1], copies)]).toEqual([2, 2])
    const signals = scored([0, 4, 3, 2, 1], { candidate: [0, 1, 1, 1, 1], copies })
    expect([...select(gotD, signals, byRows(1)).selected]).toEqual([2])
  })
})

describe('the domain test', () => {
  const source = categories('source', ['a', 'b', 'c', 'a', 'b', 'b'], 6)
  const distance = floats('distance', [2, 1, 3, 2, 1, 1])

  test('orders domains by distance', () => {
    expect(domainDistances(distance, source).map(({ name, rows }) => [name, rows])).toEqual([
      ['b', 3],
      ['a', 2],
      ['c', 1],
    ])
  })

  test('keeps the nearest, and more of them where the budget needs them', () => {
    const domains = domainDistances(distance, source)
    const kept = (most: 'auto' | 'all' | number, rows: number) => {
      const { codes, beyond } = nearestDomains(domains, most, { asked: rows, sizeOf: (domain) => domain.rows })
      return [domains.filter(({ code }) => codes.has(code)).map(({ name }) => name), beyond]
    }
    // Twice the budget, so that the gradients have a choice.
    expect(kept('auto', 2)).toEqual([['b', 'a'], 0])
    expect(kept('auto', 3)).toEqual([['b', 'a', 'c'], 1])
    expect(kept(1, 6)).toEqual([['b'], 0])
    expect(kept('all', 1)).toEqual([['b', 'a', 'c'], 0])
    const counted = domainDistances(distance, source, { counts: [1, 0, 1, 1, 0, 0], tokens: [5, 1, 7, 5, 1, 1] })
    expect(counted.map(({ name, rows, tokens }) => [name, rows, tokens])).toEqual([
      ['b', 0, 0],
      ['a', 2, 10],
      ['c', 1, 7],
    ])
    const { codes } = nearestDomains(counted, 1, { asked: 1, sizeOf: ({ tokens }) => tokens })
    expect([...codes]).toEqual([0])
  })

  test('keeps a domain whose distance is not known only where all are kept', () => {
    const unknown = domainDistances(floats('distance', [Number.NaN, 1, 3, Number.NaN, 1, 1]), source)
    expect(unknown.map(({ name }) => name)).toEqual(['b', 'c', 'a'])
  })

  test('takes a pool without sources as one domain, and counts only rows that count', () => {
    expect(domainDistances(distance, undefined, { counts: [1, 0, 0, 1, 0, 0] })).toEqual([
      { code: 0, name: '', rows: 2, tokens: 0, distance: 2 },
    ])
  })
})

describe('dsir', () => {
  test('draws in proportion to the weights', () => {
    // Row 0 has e^2 times the weight of each of the others: of one draw it gets e^2 / (e^2 + 3).
    const signals = { importance: floats('importance', [2, 0, 0, 0]) }
    const seeds = 3000
    let first = 0
    for (let seed = 0; seed < seeds; seed++)
      first += Number(select(dsir, signals, byRows(1), {}, seed).selected[0] === 0)
    const p = Math.exp(2) / (Math.exp(2) + 3)
    expect(Math.abs(first - seeds * p)).toBeLessThan(5 * Math.sqrt(seeds * p * (1 - p)))
  })

  test('with one seed a smaller budget selects a subset of a larger one, another seed another draw', () => {
    const signals = {
      importance: floats(
        'importance',
        Array.from({ length: 300 }, (_, row) => Math.sin(row)),
      ),
    }
    const larger = new Set(select(dsir, signals, byRows(90)).selected)
    for (const row of select(dsir, signals, byRows(30)).selected) expect(larger.has(row)).toBe(true)
    expect([...select(dsir, signals, byRows(90), {}, 2).selected]).not.toEqual([...larger].sort((a, b) => a - b))
  })
})

describe('tapt-knn', () => {
  test('takes rows in the order of the rounds, and says where there are too few', () => {
    const signals = {
      order: signal('order', Int32Array.from([2, -1, 0, 1])),
      taken_by: signal('taken_by', Int32Array.from([0, -1, 0, 1])),
      similarity: signal('similarity', Float32Array.from([0.1, Number.NaN, 0.9, 0.8])),
    }
    expect([...select(taptKnn, signals, byRows(2)).selected]).toEqual([2, 3])
    const all = select(taptKnn, signals, byRows(4))
    expect([...all.selected]).toEqual([0, 2, 3])
    expect(all.notices.map(({ code }) => code)).toEqual(['under-filled'])
  })
})

describe('dapt', () => {
  const rows = 60
  const signals = {
    source: categories(
      'source',
      Array.from({ length: rows }, (_, row) => (row % 3 === 0 ? 'near' : row % 3 === 1 ? 'middle' : 'far')),
      rows,
    ),
    distance: floats(
      'distance',
      Array.from({ length: rows }, (_, row) => 1 + (row % 3)),
    ),
  }

  test('draws from the nearest domain alone while it lasts, uniformly', () => {
    const times = new Float64Array(rows)
    const seeds = 1000
    for (let seed = 0; seed < seeds; seed++)
      for (const row of select(dapt, signals, byRows(5), {}, seed).selected) times[row]++
    times.forEach((count, row) => {
      if (row % 3 !== 0) expect(count).toBe(0)
      else expect(Math.abs(count - seeds / 4)).toBeLessThan(5 * Math.sqrt(seeds * 0.25 * 0.75))
    })
  })

  test('goes on in the next nearest where it is exhausted, and says so', () => {
    const { selected, notices, groups } = select(dapt, signals, byRows(25))
    expect(groups.map(({ label, selected: taken }) => [label, taken])).toEqual([
      ['near', 20],
      ['middle', 5],
      ['far', 0],
    ])
    expect(selected.length).toBe(25)
    expect(notices).toEqual([expect.objectContaining({ code: 'domain-exhausted', rows: 5 })])
  })
})

describe('all-domains', () => {
  test('gives each source an equal share, and what a small one cannot use to the larger ones', () => {
    const names = [...new Array(3).fill('small'), ...new Array(50).fill('large'), ...new Array(40).fill('middle')]
    const method = findMethod('all-domains')
    const signals = { source: categories('source', names, names.length) }
    const { groups, columns, selected } = select(method, signals, byRows(33))
    expect(groups.map(({ label, selected: taken }) => [label, taken])).toEqual([
      ['small', 3],
      ['large', 15],
      ['middle', 15],
    ])
    const weight = columns.weight as Float64Array
    expect(selected.reduce((total, row) => total + weight[row], 0)).toBeCloseTo(names.length, 9)
  })
})
