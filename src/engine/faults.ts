/** What a runtime says when memory runs out or a device goes away, as faults. It says so in words alone. */

import { WinnowError } from '../errors.ts'

/** Bytes asked for are the first group where they are known. */
const OUT_OF_MEMORY = [
  // ONNX Runtime's arena, on every provider that has one.
  /Failed to allocate memory for requested buffer of size (\d+)/,
  /std::bad_alloc|bad allocation/,
  /out of memory|OUT_OF_(?:HOST|DEVICE)_MEMORY|E_OUTOFMEMORY/i,
  // V8, for arrays and for the optimiser's memory.
  /Array buffer allocation failed|could not allocate memory/,
  // Dawn: the buffer could not be made, which only its use reports.
  /\[Invalid Buffer[^\]]*\] is invalid due to a previous error/,
  // ONNX Runtime on webgpu cuts a large tensor into bindings, of which there are not enough.
  /Too many storage buffers in shader/,
]
const DEVICE_LOST =
  /device (?:is |was |has been )?lost|device removed|DEVICE_LOST|CUDA error: unspecified launch failure/i
const NO_PRECISION =
  /requires f16 but the device does not support it|implementation for \w+\(\d+\) node|Provider type for \w+ node .* is not set/

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Whether this error of ONNX Runtime (or of V8 beside it) says that memory ran out. */
export const isOutOfMemory = (error: unknown): boolean => OUT_OF_MEMORY.some((said) => said.test(textOf(error)))

/** Whether this error of ONNX Runtime says that the device is gone: its driver ended, or it was unplugged. */
export const isDeviceLost = (error: unknown): boolean => DEVICE_LOST.test(textOf(error))

/**
 * The error to throw for one of ONNX Runtime: `out-of-memory` (found: the bytes asked for, where it says them), `device-lost` or
 * `precision-unsupported`, with the original as cause; another error is given back as it is. `device` names where the graph ran.
 */
export function runtimeError(error: unknown, device: string): unknown {
  if (error instanceof WinnowError) return error
  const fault = (() => {
    if (isDeviceLost(error)) {
      const hint = 'Run it again: a run goes on from its last checkpoint. --device cpu needs no such device.'
      return { code: 'device-lost', message: `${device} was lost: its driver ended the connection`, hint }
    }
    if (isOutOfMemory(error)) {
      const bytes = OUT_OF_MEMORY[0].exec(textOf(error))?.[1]
      return {
        code: 'out-of-memory',
        message: `${device} has not enough memory for this batch`,
        found: bytes === undefined ? undefined : `${bytes} bytes asked for at once`,
        hint: 'A smaller --micro-batch needs less; so do --recompute and --lora.',
      }
    }
    if (NO_PRECISION.test(textOf(error))) {
      const hint = 'Use float32.'
      return { code: 'precision-unsupported', message: `${device} does not compute in this precision`, hint }
    }
    return undefined
  })()
  return fault === undefined ? error : new WinnowError('failure', fault, { cause: error })
}
