/** The cells of a comparison, checked and found by method, budget and seed. */

import { WinnowError } from '../errors.ts'
import {
  type Cell,
  type Comparison,
  type ComparisonMetric,
  type ComparisonTest,
  FULL,
  NONE,
  RANDOM,
} from './comparison.ts'

export interface CellIndex {
  /** The cells of a row by seed, in the order of the comparison's seeds. */
  of(method: string, budget: number): Cell[]
  missing: { method: string; budget: number; seed: number }[]
}

/** A cell in words: `s2l at 10%, seed 2`. */
export function cellName(comparison: Comparison, { method, budget, seed }: Pick<Cell, 'method' | 'budget' | 'seed'>) {
  const at = budget < 0 ? '' : ` at ${comparison.budgets[budget]?.text ?? `budget ${budget}`}`
  return `${method}${at}, seed ${seed}`
}

/** A comparison without what every part of it rests on. */
function checkDesign({ methods, metrics, tests }: Comparison): void {
  if (!methods.some(({ label }) => label === RANDOM))
    throw new WinnowError('input', {
      code: 'comparison-without-random',
      message: 'the comparison has no random pick, which all others are measured against',
      path: 'methods',
      found: methods.map(({ label }) => label).join(', ') || 'none',
      hint: `Add ${RANDOM} to the methods.`,
    })
  const empty = tests.find(({ rows }) => rows === 0)
  if (empty || tests.length === 0 || metrics.length === 0)
    throw new WinnowError('input', {
      code: 'comparison-without-test',
      message: empty ? `the test ${empty.name} has no rows` : 'the comparison measures nothing',
      path: metrics.length === 0 ? 'metrics' : 'tests',
      expected: 'a metric, and tests of at least one row',
    })
}

/**
 * Check every cell and index them. Cells that are not there are told in `missing`: of methods at every budget and seed, of `full`
 * at every seed where it has any, of `none` never (nothing is trained, so that one cell stands for all seeds).
 *
 * @throws {WinnowError} `comparison-without-random`, `comparison-without-test`, `comparison-cell-unknown`, `comparison-cell-twice`,
 * `comparison-score-missing`, `comparison-score-count`, `comparison-score-not-finite`: each names the cell.
 */
export function indexCells(comparison: Comparison): CellIndex {
  const { methods, budgets, seeds, cells } = comparison
  checkDesign(comparison)
  const known = new Set(methods.map(({ label }) => label))
  const byName = new Map<string, Cell>()
  const key = (method: string, budget: number, seed: number) => JSON.stringify([method, budget, seed])
  for (const cell of cells) {
    const reference = cell.method === FULL || cell.method === NONE
    const place = reference ? cell.budget === -1 : known.has(cell.method) && budgets[cell.budget] !== undefined
    if (!place || !(seeds.includes(cell.seed) || cell.method === NONE))
      throw refused(comparison, cell, 'cell-unknown', 'is not part of the comparison')
    const name = key(cell.method, cell.budget, cell.seed)
    if (byName.has(name)) throw refused(comparison, cell, 'cell-twice', 'is there twice')
    for (const metric of comparison.metrics)
      for (const test of comparison.tests) checkScores(comparison, cell, metric, test)
    byName.set(name, cell)
  }
  const of = (method: string, budget: number) => {
    // Whatever seed it was evaluated under.
    if (method === NONE) return cells.filter((cell) => cell.method === NONE)
    return seeds.map((seed) => byName.get(key(method, budget, seed))).filter((cell) => cell !== undefined)
  }
  const wanted = budgets.flatMap((_, budget) => methods.map(({ label }) => ({ method: label, budget })))
  if (of(FULL, -1).length > 0) wanted.push({ method: FULL, budget: -1 })
  const missing = wanted
    .flatMap((row) => seeds.map((seed) => ({ ...row, seed })))
    .filter(({ method, budget, seed }) => !byName.has(key(method, budget, seed)))
  return { of, missing }
}

function checkScores(comparison: Comparison, cell: Cell, metric: ComparisonMetric, test: ComparisonTest): void {
  const path = `scores.${metric.name}.${test.name}`
  const scores = cell.scores[metric.name]?.[test.name]
  if (scores === undefined) throw refused(comparison, cell, 'score-missing', 'has no scores', { path })
  if (scores.length !== test.rows)
    throw refused(comparison, cell, 'score-count', 'does not have a score for each test row', {
      path,
      found: `${scores.length} scores`,
      expected: `${test.rows}`,
    })
  const row = scores.findIndex((score) => !Number.isFinite(score))
  if (row >= 0)
    throw refused(comparison, cell, 'score-not-finite', 'has a score that is no finite number', {
      path: `${path}[${row}]`,
      found: String(scores[row]),
      hint: 'Its training may have diverged: lower the learning rate, and train it again.',
    })
}

function refused(
  comparison: Comparison,
  cell: Cell,
  code: string,
  message: string,
  details: { path?: string; found?: string; expected?: string; hint?: string } = {},
): WinnowError {
  const fault = { code: `comparison-${code}`, ...details }
  return new WinnowError('input', { ...fault, message: `the cell ${cellName(comparison, cell)} ${message}` })
}
