/** Every selection method. A new one is a file beside this and a line here. */

import { WinnowError } from '../errors.ts'
import { allDomains } from './all-domains.ts'
import { confidenceCurriculum } from './confidence-curriculum.ts'
import { dapt } from './dapt.ts'
import { dsir } from './dsir.ts'
import { facilityLocation } from './facility-location.ts'
import { gotD } from './got-d.ts'
import { highLearnability } from './high-learnability.ts'
import { ifd } from './ifd.ts'
import { kCenter } from './k-center.ts'
import { leastConfidence } from './least-confidence.ts'
import { longest } from './longest.ts'
import type { Method } from './method.ts'
import { middlePerplexity } from './middle-perplexity.ts'
import { random } from './random.ts'
import { randomBalanced } from './random-balanced.ts'
import { rds } from './rds.ts'
import { s2l } from './s2l.ts'
import { semdedup } from './semdedup.ts'
import { taptKnn } from './tapt-knn.ts'

export const methods: readonly Method[] = [
  ...[s2l, gotD, dsir, taptKnn, rds, dapt],
  ...[leastConfidence, middlePerplexity, highLearnability, ifd, confidenceCurriculum, longest],
  ...[facilityLocation, kCenter, semdedup],
  ...[allDomains, randomBalanced, random],
]

/**
 * The method of this name.
 *
 * @throws {WinnowError} `unknown-method`, listing those there are.
 */
export function findMethod(name: string): Method {
  const method = methods.find((candidate) => candidate.name === name)
  if (method !== undefined) return method
  throw new WinnowError('usage', {
    code: 'unknown-method',
    message: 'there is no method of this name',
    path: '--method',
    found: name,
    expected: methods.map((candidate) => candidate.name).join(', '),
    hint: '`winnow methods` says what each one does.',
  })
}
