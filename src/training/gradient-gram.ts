/** Inner products of every two of some long vectors. */

import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { matmul } from '../engine/operators/matmul.ts'
import { compile, type Device } from '../engine/session.ts'
import { input } from '../engine/tensor.ts'

/** Columns of a product on the device: what is added up in float32 before float64 takes over. */
const STRETCH = 8192

/**
 * G G^T of `vectors`, row-major [n, d]: [n, n], symmetric. Stretches of 8,192 columns are multiplied in float32 on the device and added in float64.
 *
 * Deterministic: the same bits on any number of threads. O(n^2 d); memory beside the input 32 KiB a row.
 */
export async function gramMatrix(
  vectors: Float32Array,
  n: number,
  device: Device,
  signal?: AbortSignal,
): Promise<Float64Array> {
  const gram = new Float64Array(n * n)
  if (n === 0) return gram
  const d = vectors.length / n
  const part = input('part', ['rows', 'columns'])
  const executable = await compile({ products: matmul(part, part, { transposeB: true }) }, device)
  try {
    for (let from = 0; from < d; from += STRETCH) {
      signal?.throwIfAborted()
      const width = Math.min(STRETCH, d - from)
      const columns = new Float32Array(n * width)
      for (let i = 0; i < n; i++) columns.set(vectors.subarray(i * d + from, i * d + from + width), i * width)
      const { products } = await executable.run({
        part: new device.ort.Tensor('float32', columns, [n, width]) as OrtTensor,
      })
      const data = products.data as Float32Array
      // Both halves from one: symmetric whatever order a product was summed in.
      for (let i = 0; i < n; i++)
        for (let j = i; j < n; j++) {
          gram[i * n + j] += data[i * n + j]
          if (j > i) gram[j * n + i] = gram[i * n + j]
        }
    }
  } finally {
    await executable.release()
  }
  return gram
}

/** The same in float64, plainly: the oracle. */
export function referenceGram(vectors: Float32Array, n: number): Float64Array {
  const d = vectors.length / Math.max(1, n)
  const gram = new Float64Array(n * n)
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) {
      let sum = 0
      for (let k = 0; k < d; k++) sum += vectors[i * d + k] * vectors[j * d + k]
      gram[i * n + j] = sum
    }
  return gram
}
