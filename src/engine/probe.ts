/**
 * Whether a device works: a small graph is compiled for it, run, and its numbers compared with the float64 oracle. A GPU driver may
 * end the whole process instead of failing; callers that must survive that run this in a process of its own.
 */

import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { interpret } from './interpreter.ts'
import { swiglu } from './operators/elementwise.ts'
import { gatherRows } from './operators/gather.ts'
import { matmul } from './operators/matmul.ts'
import { rmsNorm } from './operators/normalise.ts'
import { compile, type Device, type DeviceName, type OrtApi } from './session.ts'
import { constant, input } from './tensor.ts'

export interface DeviceProbe {
  name: DeviceName
  /** The graph ran and its numbers were right. */
  ok: boolean
  /** Why not, in the words of ONNX Runtime, or the numbers found. */
  reason?: string
  /** What was checked, in a few words. */
  detail?: string
  /** Speed of a square float32 matrix product, 10^9 floating-point operations a second, results copied back included. */
  gflops?: number
}

/** Largest deviation from the oracle, relative to 1 + |value|. */
const TOLERANCE = 1e-4
/** Sides of the square products that are timed: the larger ones only while a product takes less than `ENOUGH_MS`. */
const SIDES = [128, 512, 1024]
const ENOUGH_MS = 10

/**
 * Compiles and runs a small graph on a device and checks it (tolerance 1e-4), then times a matrix product. Takes a few tenths of a
 * second. Never throws: a failure is a result.
 */
export async function probeDevice(ort: OrtApi, name: DeviceName): Promise<DeviceProbe> {
  const device: Device = { ort, name, threads: 0 }
  try {
    const deviation = await checkNumbers(device)
    if (!(deviation <= TOLERANCE)) {
      const reason = `wrong numbers: they deviate by ${deviation.toExponential(1)} where ${TOLERANCE} is allowed`
      return { name, ok: false, reason }
    }
    const gflops = await timeProduct(device)
    return { name, ok: true, detail: `a small graph agrees with float64 to ${deviation.toExponential(1)}`, gflops }
  } catch (error) {
    return { name, ok: false, reason: innermostReason(error) }
  }
}

/** y = swiglu(rmsNorm(x[i]) W): one operator of each kind that training needs. Largest deviation from the oracle. */
async function checkNumbers(device: Device): Promise<number> {
  const wave = (length: number, step: number) => Float32Array.from({ length }, (_, i) => Math.sin(1 + i * step))
  const x = wave(4 * 8, 0.7)
  const rows = Int32Array.of(3, 0, 2)
  const normalised = rmsNorm(
    gatherRows(input('x', [4, 8]), input('rows', ['n'], 'int32')),
    constant(wave(8, 0.3), [8]),
    1e-5,
  )
  const side = (step: number) => matmul(normalised, constant(wave(8 * 6, step), [8, 6]))
  const y = swiglu(side(0.9), side(1.1))
  const expected = interpret(
    { y },
    {
      x: { shape: [4, 8], data: Float64Array.from(x) },
      rows: { shape: [3], data: Float64Array.from(rows) },
    },
  ).y.data
  const executable = await compile({ y }, device)
  try {
    const { Tensor } = device.ort
    const results = await executable.run({
      x: new Tensor('float32', x, [4, 8]) as OrtTensor,
      rows: new Tensor('int32', rows, [3]) as OrtTensor,
    })
    const found = results.y.data as Float32Array
    if (found.length !== expected.length) return Number.NaN
    return expected.reduce((most, value, i) => Math.max(most, Math.abs(found[i] - value) / (1 + Math.abs(value))), 0)
  } finally {
    await executable.release()
  }
}

/** Of each size the second of two products counts: the first compiles shaders and warms caches. */
async function timeProduct(device: Device): Promise<number> {
  const executable = await compile({ y: matmul(input('a', ['n', 'n']), input('b', ['n', 'n'])) }, device)
  try {
    let gflops = 0
    for (const n of SIDES) {
      const side = () => new device.ort.Tensor('float32', new Float32Array(n * n).fill(0.5), [n, n]) as OrtTensor
      const feeds = { a: side(), b: side() }
      await executable.run(feeds)
      const start = performance.now()
      await executable.run(feeds)
      const milliseconds = performance.now() - start
      gflops = executable.flops(new Map([['n', n]])) / milliseconds / 1e6
      if (milliseconds > ENOUGH_MS) break
    }
    return gflops
  } finally {
    await executable.release()
  }
}

/** ONNX Runtime's message without the C++ function that it came from. */
function innermostReason(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return message
    .trim()
    .split('\n')[0]
    .replace(/^.* was false\. /, '')
}
