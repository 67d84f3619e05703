import { randomStream } from '../../src/random/philox.ts'
import type { Vectors } from '../../src/similarity/vectors.ts'

/** Vectors from rows. */
export function vectorsOf(rows: number[][]): Vectors {
  return { data: Float32Array.from(rows.flat()), n: rows.length, d: rows[0].length }
}

/** Small whole numbers, whose products float32 has exactly: ties are common. */
export function lattice(n: number, d: number, seed: number, span = 3): Vectors {
  const stream = randomStream(seed, 'lattice')
  return { data: Float32Array.from({ length: n * d }, () => stream.below(2 * span + 1) - span), n, d }
}

/** Unit vectors around `clusters` directions: the more `spread`, the less they cluster. */
export function clustered(n: number, d: number, { clusters = 8, spread = 1, seed = 0, centres = 0 } = {}): Vectors {
  const [middle, stream] = [randomStream(centres, 'centres'), randomStream(seed, 'rows')]
  const centre = Float64Array.from({ length: clusters * d }, () => middle.normal())
  const data = new Float32Array(n * d)
  for (let i = 0; i < n; i++) {
    const c = stream.below(clusters)
    const row = Float64Array.from({ length: d }, (_, j) => centre[c * d + j] + spread * stream.normal())
    const length = Math.hypot(...row)
    for (let j = 0; j < d; j++) data[i * d + j] = row[j] / length
  }
  return { data, n, d }
}
