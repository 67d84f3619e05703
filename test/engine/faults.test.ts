import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { isDeviceLost, isOutOfMemory, runtimeError } from '../../src/engine/faults.ts'
import { exp } from '../../src/engine/operators/elementwise.ts'
import { matmul } from '../../src/engine/operators/matmul.ts'
import { sum } from '../../src/engine/operators/reduce.ts'
import { compile } from '../../src/engine/session.ts'
import { input } from '../../src/engine/tensor.ts'
import { WinnowError } from '../../src/errors.ts'
import { cpu } from './devices.ts'

describe('a run that needs more memory than there is', () => {
  it('says how many bytes it asked for, and what needs less', async () => {
    const product = sum(exp(matmul(input('x', ['n', 1]), input('y', [1, 'n']))))
    const executable = await compile({ product }, cpu)
    // A product of 4 terabytes out of two vectors of 4 megabytes.
    const vector = (shape: number[]) => new cpu.ort.Tensor('float32', new Float32Array(1e6), shape) as OrtTensor
    await expect(executable.run({ x: vector([1e6, 1]), y: vector([1, 1e6]) })).rejects.toMatchObject({
      kind: 'failure',
      fault: {
        code: 'out-of-memory',
        found: '4000000000000 bytes asked for at once',
        hint: expect.stringMatching(/--micro-batch.*--recompute.*--lora/),
      },
    })
    // The session is none the worse.
    const { product: small } = await executable.run({
      x: new cpu.ort.Tensor('float32', Float32Array.of(0), [1, 1]) as OrtTensor,
      y: new cpu.ort.Tensor('float32', Float32Array.of(0), [1, 1]) as OrtTensor,
    })
    expect((small.data as Float32Array)[0]).toBe(1)
    await executable.release()
  })
})

describe('errors of a runtime', () => {
  it.each([
    'std::bad_alloc',
    'CUDA failure 2: out of memory ; GPU=0 ; hostname=a',
    'vkAllocateMemory failed with VK_ERROR_OUT_OF_DEVICE_MEMORY',
    'WebGPU validation failed. [Invalid Buffer (unlabeled)] is invalid due to a previous error.\n - While validating entries[2]',
    'Array buffer allocation failed',
    'WebAssembly.Memory(): could not allocate memory',
  ])('mean that memory ran out: %s', (text) => {
    expect(isOutOfMemory(new Error(text))).toBe(true)
    expect(runtimeError(new Error(text), 'webgpu')).toMatchObject({
      fault: { code: 'out-of-memory', found: undefined },
    })
  })

  it.each([
    'Device is lost',
    '[Device] is lost. device lost: a driver reset',
    'VK_ERROR_DEVICE_LOST',
  ])('mean that the device is gone: %s', (text) => {
    expect(isDeviceLost(new Error(text))).toBe(true)
    const fault = { code: 'device-lost', message: expect.stringContaining('webgpu') }
    expect(runtimeError(new Error(text), 'webgpu')).toMatchObject({ fault })
  })

  it('of any other kind are given back as they are', () => {
    const other = new Error("Non-zero status code returned while running Gemm node. Status Message: shapes don't match")
    expect(runtimeError(other, 'cpu')).toBe(other)
    const known = new WinnowError('input', { code: 'known', message: 'out of memory, it says' })
    expect(runtimeError(known, 'cpu')).toBe(known)
  })
})
