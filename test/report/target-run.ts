/** Runs with a target to report on: the sample pool with made-up scores of known shape. */

import { randomStream } from '../../src/random/philox.ts'
import { type ReportData, selectedFlags } from '../../src/report/data.ts'
import { shownTargets } from '../../src/report/samples.ts'
import { randomRun, withTexts } from './sample-run.ts'

export interface TargetRunOptions {
  rows?: number
  targets?: number
  budget?: number
  contrast?: boolean
}

export const targetText = (target: number) => `target text ${target}`
export const poolText = (row: number) => `pool text ${row}`

/**
 * GOT-D: the last of the pool's sources is not kept, every 40th row repeats an earlier one, every 50th is a near-duplicate
 * that the filter passed over. Gradients are normal with a long tail above; half of the target rows are nearest to most.
 */
export function gotdRun(options: TargetRunOptions = {}): ReportData {
  const { rows = 1500, targets = 60, budget = 100, contrast = false } = options
  const base = randomRun({ rows, clusters: 1, budget: 0 })
  const { codes, names } = base.rows.source!
  const dropped = names.length - 1
  const sign = contrast ? -1 : 1
  const values = new Float64Array(rows)
  const candidates = new Uint8Array(rows)
  const nearest = new Uint32Array(rows)
  for (let row = 0; row < rows; row++) {
    const stream = randomStream(7, 'target run', row)
    values[row] = 0.1 * stream.normal() + (row % 100 === 7 ? 40 * stream.uniform() : 0)
    if (row % 50 === 12) values[row] -= 0.5 * sign
    candidates[row] = codes[row] !== dropped && row % 40 !== 39 ? 1 : 0
    if (codes[row] === dropped) values[row] = Number.NaN
    nearest[row] = Math.floor(targets * stream.uniform() ** 2)
  }
  const order = Array.from(candidates.keys())
    .filter((row) => candidates[row] && row % 50 !== 12)
    .sort((a, b) => sign * (values[a] - values[b]) || a - b)
  const selected = selectedFlags(rows, order.slice(0, budget))
  const held = (code: number, picked: boolean) =>
    Array.from(codes).reduce((sum, at, row) => sum + (at === code && (!picked || selected[row]) ? 1 : 0), 0)
  return withTarget({
    ...base,
    run: { ...base.run, method: 'got-d', facts: [['Embedding', 'ngrams, 384 dimensions']] },
    rows: { ...base.rows, selected },
    scores: {
      name: 'calibrated gradient',
      taken: contrast ? 'highest' : 'lowest',
      values,
      candidates,
      boundary: budget > 0 ? values[order[Math.min(budget, order.length) - 1]] : undefined,
    },
    target: { rows: targets, files: ['task.jsonl'], nearest, texts: new Map(), contrast },
    domains: {
      self: 0.4,
      unrelated: 1.4,
      rows: names.map((name, code) => ({
        ...{ name, rows: held(code, false), distance: 0.5 + 0.25 * code },
        ...{ kept: code !== dropped, selected: held(code, true) },
      })),
    },
  })
}

/** DSIR: every row has a weight, and the draw is noisy. */
export function dsirRun(): ReportData {
  const base = randomRun({ rows: 1500, clusters: 1, budget: 200 })
  const values = Float64Array.from(base.rows.selected, (picked, row) => {
    const stream = randomStream(7, 'target run', row)
    return -40 + 10 * stream.normal() + (picked ? 30 : 0)
  })
  return withTarget({
    ...base,
    run: { ...base.run, method: 'dsir' },
    scores: { name: 'log importance weight', unit: 'nats', taken: 'highest', values },
    target: { rows: 60, files: ['task.jsonl'], texts: new Map() },
  })
}

/** TAPT/c: picked rows have a place, the others nothing. */
export function taptRun(): ReportData {
  const gotd = gotdRun()
  let place = 0
  const values = Float64Array.from(gotd.rows.selected, (picked) => (picked ? place++ : Number.NaN))
  const { domains: _domains, ...data } = gotd
  return withTarget({
    ...data,
    run: { ...data.run, method: 'tapt-knn' },
    scores: { name: 'order of picking', taken: 'lowest', values },
  })
}

/** DAPT: a uniform draw of the nearest domain, without scores or nearest target rows. */
export function daptRun(): ReportData {
  const { scores: _scores, ...data } = gotdRun()
  const { nearest: _nearest, ...target } = data.target!
  return withTarget({ ...data, run: { ...data.run, method: 'dapt' }, target })
}

/** The data with the texts that its page shows, and no others. */
export function withTarget(data: ReportData, text = targetText, rowText = poolText): ReportData {
  const texts = new Map([...shownTargets(data)].map((target) => [target, text(target)]))
  return withTexts({ ...data, target: data.target && { ...data.target, texts } }, rowText)
}
