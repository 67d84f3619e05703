/** Vectors that are shaped like embeddings of texts on several subjects, for benchmarks. */

import { randomStream } from '../src/random/philox.ts'

export interface Subjects {
  /** Share u in [0, 1) of rows to a subject in [0, count). */
  subject(u: number): number
  count: number
  /** Deviation of a row from its subject's direction, in the directions' own. */
  spread: number
  seed: number
}

/** Centres of the subjects, normal in d dimensions, the same for every set. */
function centresOf(count: number, d: number): Float32Array {
  const stream = randomStream(7, 'subjects')
  return Float32Array.from({ length: count * d }, () => stream.normal())
}

/** Writes unit vectors, rows [first, first + out.length / d) of an endless set, row-major [.., d]. */
export function subjectRows(
  out: Float32Array,
  d: number,
  first: number,
  { subject, count, spread, seed }: Subjects,
): void {
  const centres = centresOf(count, d)
  for (let i = 0; i * d < out.length; i++) {
    const stream = randomStream(seed, 'rows', first + i)
    const c = subject(stream.uniform())
    let square = 0
    for (let j = 0; j < d; j += 2) {
      // Both halves of Box-Muller.
      const radius = spread * Math.sqrt(-2 * Math.log(1 - stream.uniform()))
      const angle = 2 * Math.PI * stream.uniform()
      const [x, y] = [
        centres[c * d + j] + radius * Math.cos(angle),
        (centres[c * d + j + 1] ?? 0) + radius * Math.sin(angle),
      ]
      out[i * d + j] = x
      if (j + 1 < d) out[i * d + j + 1] = y
      square += x * x + (j + 1 < d ? y * y : 0)
    }
    const scale = 1 / Math.sqrt(square)
    for (let j = 0; j < d; j++) out[i * d + j] *= scale
  }
}

/** The pool has more of the first subjects, the target of the last. */
export const poolSubjects = (seed: number): Subjects => ({
  ...{ count: 64, spread: 1.2, seed },
  subject: (u) => Math.floor(64 * u * u),
})
export const targetSubjects = (seed: number): Subjects => ({
  ...{ count: 64, spread: 1.2, seed },
  subject: (u) => Math.floor(64 * Math.sqrt(u)),
})

export function unitVectors(n: number, d: number, subjects: Subjects) {
  const data = new Float32Array(n * d)
  subjectRows(data, d, 0, subjects)
  return { data, n, d }
}
