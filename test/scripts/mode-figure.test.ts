import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { costs, counts, lowest, modeFigure, modeProblem, potentials, solve } from '../../scripts/mode-figure.ts'

describe('the mode figure', () => {
  it('in the docs is what the script draws', () => {
    expect(modeFigure()).toBe(readFileSync(new URL('../../docs/figures/modes.svg', import.meta.url), 'utf8'))
  })

  it('shows what it says: GOT-D picks the mode that the pool lacks, nearest neighbours the one that it is full of', () => {
    for (const epsilon of [1, 5]) {
      const problem = modeProblem(2)
      const cost = costs(problem)
      const transport = lowest(potentials(cost, solve(cost, epsilon), epsilon))
      const neighbours = lowest(potentials(cost, new Float64Array(cost.length), epsilon))
      expect(counts(problem, transport).B).toBeGreaterThanOrEqual(99)
      expect(counts(problem, neighbours).A).toBeGreaterThanOrEqual(80)
    }
  })

  it('solves the transport: the potentials of both sides agree with both marginals', () => {
    // Two target rows at 0 and 1, candidates at 0, 0, 0, 1.
    const cost = [Float64Array.of(0, 0, 0, 1), Float64Array.of(1, 1, 1, 0)]
    const g = potentials(cost, solve(cost, 0.5), 0.5)
    const calibrated = Array.from(g, (value, j) => value - (g.reduce((sum, other) => sum + other, 0) - g[j]) / 3)
    const expected = [0.161458, 0.161458, 0.161458, -0.484375]
    for (const [j, value] of calibrated.entries()) expect(value).toBeCloseTo(expected[j], 6)
  })
})
