import { describe, expect, it } from 'vitest'
import type { Difference } from '../../src/answers/against.ts'
import type { EvaluateResult } from '../../src/answers/evaluate.ts'
import { SCORE_FACTS, type ScoreName } from '../../src/answers/metrics.ts'
import { averages } from '../../src/answers/scores.ts'
import { renderEvaluation } from '../../src/cli/evaluation-table.ts'
import { screen } from './screen.ts'

const scores = Object.keys(SCORE_FACTS) as ScoreName[]

function result(more: Partial<EvaluateResult> = {}): EvaluateResult {
  const set = (name: string, group: string | undefined, match: number | null) => ({
    ...{ name, group, file: `${name}.jsonl`, rows: 1319, scores: { nll: 1.25, perplexity: 3.5, 'exact-match': match } },
  })
  const tests = [set('gsm8k', 'in', 12.5), set('svamp', 'out', 30)]
  return {
    ...{ model: { name: './tuned' }, tests, averages: averages(tests), scores: ['nll', 'perplexity', 'exact-match'] },
    ...{ out: { path: 'gsm8k.answers.jsonl', bytes: 10, sha256: '' }, run: 'run', notices: [], device: 'cpu' },
    ...{ seconds: 65, stages: [] },
    ...more,
  }
}

const difference = (test: string | null, mean: number, better: Difference['better']): Difference => ({
  ...{ score: 'exact-match', test, rows: 1319, own: 12.5, other: 12.5 - mean, mean, low: mean - 1.2, high: mean + 1.2 },
  ...{ distinguishable: better !== null, better },
})

describe('renderEvaluation', () => {
  it('has a row for each set, then the averages', () => {
    const lines = renderEvaluation(result(), screen({ columns: 100 })).split('\n')
    expect(lines.slice(3, 9)).toEqual([
      '  test              rows  test loss  perplexity  exact match %',
      '  gsm8k (in)       1,319      1.250        3.50           12.5',
      '  svamp (out)      1,319      1.250        3.50           30.0',
      '  average of in    1 set      1.250           -           12.5',
      '  average of out   1 set      1.250           -           30.0',
      '  average of all  2 sets      1.250           -           21.3',
    ])
  })

  it('says which model is better, where they can be told apart, and what the interval leaves out', () => {
    const against: EvaluateResult['against'] = {
      ...{ name: './base', answers: 'base.jsonl' },
      differences: [difference('gsm8k', 4.5, 'own'), difference('svamp', 1, null), difference(null, -3, 'other')],
    }
    const text = renderEvaluation(result({ against }), screen({ columns: 100 }))
    expect(text).toMatch(/exact match %, gsm8k +12\.5 +8\.0 +\+4\.5 \[\+3\.3, \+5\.7\] +better\n/)
    expect(text).toMatch(/exact match %, svamp .* \+1\.0 \[-0\.2, \+2\.2\] +not told apart\n/)
    expect(text).toMatch(/exact match %, average .* -3\.0 \[-4\.2, -1\.8\] +worse\n/)
    expect(text).toContain('not what another training seed would have given')
  })

  it.each([120, 100, 80, 60])('keeps within %i columns, with every score', (columns) => {
    const text = renderEvaluation(result({ scores }), screen({ columns }))
    for (const line of text.split('\n')) expect([...line].length, line).toBeLessThanOrEqual(Math.min(100, columns))
    for (const score of scores) expect(text).toContain(SCORE_FACTS[score].title)
  })
})
