/** The models of test/fixtures/models, ready to decode. */

import { readFileSync } from 'node:fs'
import type { TensorMap } from '../../src/engine/tensor.ts'
import type { LanguageModel } from '../../src/models/model.ts'
import { matchWeights } from '../../src/models/weights.ts'
import { fixture, logitsOnly, storiesModel, variants } from '../models/fixtures.ts'

export const families = [...variants, ...logitsOnly]

/** A fixture's model and its weights by the model's own names. */
export function modelOf(variant: string): { model: LanguageModel; weights: TensorMap } {
  const { model, weights } = variant === 'stories260K' ? storiesModel() : fixture(variant)
  const own = [...matchWeights(model, weights)].map(([name, from]) => [name, weights.get(from)!] as const)
  return { model, weights: new Map(own) }
}

/** Greedy continuations by transformers (bench/peers/make_generation_fixtures.py). */
export const greedy: { prompts: number[][]; continuations: Record<string, number[][]> } = JSON.parse(
  readFileSync(new URL('../fixtures/generation/greedy.json', import.meta.url), 'utf8'),
)
