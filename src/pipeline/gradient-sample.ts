/** Gradients of a sample of rows at one checkpoint. */

import type { TensorMap } from '../engine/tensor.ts'
import { compileExampleGradients, type ExampleGradientOptions } from '../training/example-gradients.ts'
import type { GradientSketch } from '../training/gradient-sketch.ts'
import { trainedParameters } from '../training/graphs.ts'
import type { TokenRows } from '../training/rows.ts'

interface Sample extends ExampleGradientOptions {
  rows: TokenRows
  maxLength: number
  /** Rows to take. */
  drawn: Uint32Array
  /** P */
  parameters: number
  /** Where gradients are not kept whole. */
  sketch?: GradientSketch
  /** Weights at another checkpoint. */
  neighbour?: TensorMap
  signal?: AbortSignal
  onRow: (done: number) => void
}

export interface SampleGradients {
  /** [n, d] row-major: gradients, or sketches of them. */
  vectors: Float32Array
  /** [n] <gradient, v> / |v| with v the way to or from the neighbour, in float64: nats a token for each unit of the way. */
  slopes?: Float64Array
  /** Mean NLL of the rows, nats a token. */
  mean: number
}

/** One pass a row; O(n P). */
export async function sampleGradients(sample: Sample): Promise<SampleGradients> {
  const { rows, drawn, sketch, parameters, weights, neighbour, maxLength, signal } = sample
  const gradients = await compileExampleGradients(sample)
  try {
    const dimensions = sketch?.dimensions ?? parameters
    const vectors = new Float32Array(drawn.length * dimensions)
    const whole = new Float32Array(parameters)
    const names = trainedParameters(sample.model, sample.lora).map(({ name }) => name)
    const way = neighbour && wayBetween(names, weights, neighbour)
    const slopes = way && new Float64Array(drawn.length)
    let sum = 0
    for (const [i, row] of drawn.entries()) {
      signal?.throwIfAborted()
      sum += await gradients.gradient(rows, row, maxLength, whole)
      const out = vectors.subarray(i * dimensions, (i + 1) * dimensions)
      if (sketch) sketch.add(whole, out)
      else out.set(whole)
      if (way && slopes) for (let p = 0; p < parameters; p++) slopes[i] += whole[p] * way[p]
      sample.onRow(i + 1)
    }
    return { vectors, slopes, mean: sum / drawn.length }
  } finally {
    await gradients.release()
  }
}

/** The difference of two checkpoints as a unit vector [P], its tensors in the order of the gradient. */
function wayBetween(names: readonly string[], weights: TensorMap, neighbour: TensorMap): Float64Array {
  const differences = names.map((name) => {
    const [here, there] = [weights, neighbour].map((tensors) => tensors.get(name)?.data as Float32Array)
    return Float64Array.from(here, (value, i) => value - there[i])
  })
  const way = new Float64Array(differences.reduce((size, { length }) => size + length, 0))
  let at = 0
  for (const difference of differences) {
    way.set(difference, at)
    at += difference.length
  }
  const length = Math.sqrt(way.reduce((sum, value) => sum + value * value, 0))
  return length === 0 ? way : way.map((value) => value / length)
}
