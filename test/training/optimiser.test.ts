import { describe, expect, it } from 'vitest'
import type { Parameter } from '../../src/models/parameters.ts'
import type { Crew, Parallel } from '../../src/parallel/parallel.ts'
import { workerThreads } from '../../src/parallel/threads.ts'
import { randomStream } from '../../src/random/philox.ts'
import { type AdamWOptions, adamwScalars } from '../../src/training/adamw.ts'
import { type AdamWArrays, adamwReference } from '../../src/training/adamw-reference.ts'
import { deviceOptimiser } from '../../src/training/device-optimiser.ts'
import { type HostOptions, hostOptimiser } from '../../src/training/host-optimiser.ts'
import type { Optimiser } from '../../src/training/optimiser.ts'
import type { SharedState } from '../../src/training/optimiser-shard.ts'
import { cpu, devices } from '../engine/devices.ts'

/** Sizes that are and are not multiples of a vector of four; `decay` as matrices have it. */
const parameters: Parameter[] = [
  { name: 'matrix', shape: [37, 11], decay: true, initial: { kind: 'zeros' } },
  { name: 'gain', shape: [5], decay: false, initial: { kind: 'zeros' } },
  { name: 'one', shape: [1], decay: false, initial: { kind: 'zeros' } },
  { name: 'square', shape: [32, 64], decay: true, initial: { kind: 'zeros' } },
]
const sizeOf = ({ shape }: Parameter) => shape.reduce((a, b) => a * b, 1)
const adamw: AdamWOptions = { beta1: 0.9, beta2: 0.95, weightDecay: 0.1, maxNorm: 1 }

/** Arrays of each parameter, and gradients of some steps: of many magnitudes, zeros among them. */
function made(steps: number) {
  const draw = (kind: string, i: number, scale: number) => {
    const stream = randomStream(7, kind, i)
    return Float32Array.from({ length: sizeOf(parameters[i]) }, (_, j) =>
      j % 13 === 5 ? 0 : scale * stream.normal() * 10 ** (4 * stream.uniform() - 3),
    )
  }
  const arrays: AdamWArrays[] = parameters.map((_, i) => ({
    parameters: draw('parameters', i, 1),
    gradients: draw('gradients 0', i, 1),
    first: draw('first', i, 0.1),
    second: draw('second', i, 0.1).map(Math.abs),
  }))
  const gradients = Array.from({ length: steps }, (_, step) =>
    parameters.map((_, i) => draw(`gradients ${step}`, i, 1)),
  )
  return { arrays, gradients }
}

const stateOf = (arrays: AdamWArrays[]) => {
  const map = (kind: 'parameters' | 'first' | 'second') =>
    new Map(parameters.map(({ name, shape }, i) => [name, { shape, data: arrays[i][kind] }]))
  return { parameters: map('parameters'), first: map('first'), second: map('second') }
}

/** The state after three steps of an optimiser, copied; clipped by these norms, or those that it finds. */
async function stepped(optimiser: Optimiser, given?: number[]) {
  const steps = 3
  const { arrays, gradients } = made(steps)
  optimiser.write(stateOf(arrays))
  const norms: number[] = []
  for (let step = 1; step <= steps; step++) {
    const { Tensor } = cpu.ort
    const passed = Object.fromEntries(
      parameters.map(({ name, shape }, i) => [
        `gradient/${name}`,
        new Tensor('float32', gradients[step - 1][i].slice(), shape),
      ]),
    )
    for (const [name, tensor] of Object.entries(optimiser.gradients() ?? {}))
      (tensor.data as Float32Array).set(passed[name].data as Float32Array)
    optimiser.keep(passed as never, { tokens: new Int32Array(), first: true })
    norms.push(await optimiser.norm())
    await optimiser.update(adamwScalars({ step, rate: 1e-2, norm: (given ?? norms)[step - 1] }, adamw))
  }
  const state = structuredClone(await optimiser.read())
  await optimiser.release()
  return { state, norms }
}

async function host({ count = 1, ...options }: HostOptions & { count?: number } = {}) {
  const { parallel, ready } = threads(count)
  const optimiser = await hostOptimiser(parameters, cpu.ort, { worthThreads: 0, parallel, ...options })
  await ready()
  return stepped(optimiser)
}

/** Threads of which another one has taken the first block whenever this one begins, so that none is left out because the work is over too soon. */
function threads(count: number) {
  const inner = workerThreads(count)
  let crew: Crew | undefined
  const parallel: Parallel = {
    threads: count,
    start(module, shared) {
      crew = inner.start(module, shared)
      const counter = new Int32Array((shared as SharedState).ticket)
      return {
        get gathering() {
          return crew?.gathering ?? false
        },
        run(command) {
          const others = crew?.run(command) ?? Promise.resolve()
          while (Atomics.load(counter, 0) === 0);
          return others
        },
        [Symbol.asyncDispose]: async () => crew?.[Symbol.asyncDispose](),
      }
    },
  }
  const ready = async () => {
    while (crew?.gathering) await new Promise((resolve) => setImmediate(resolve))
  }
  return { parallel, ready }
}

describe('the AdamW kernel', () => {
  it('gives the bits of the reference, operation by operation, with and without decay', async () => {
    const steps = 3
    const { state, norms } = await host()
    const { arrays, gradients } = made(steps)
    for (let step = 1; step <= steps; step++) {
      const scalars = adamwScalars({ step, rate: 1e-2, norm: norms[step - 1] }, adamw)
      parameters.forEach(({ decay }, i) => {
        arrays[i].gradients.set(gradients[step - 1][i])
        adamwReference(arrays[i], scalars, decay)
      })
    }
    expect(state).toEqual(stateOf(arrays))
  })

  it('measures the norm of all gradients as float64 does', async () => {
    const { norms } = await host({ blockBytes: 64 })
    made(3).gradients.forEach((arrays, step) => {
      const expected = Math.sqrt(arrays.reduce((sum, array) => sum + array.reduce((a, x) => a + x * x, 0), 0))
      expect(Math.abs(norms[step] - expected) / expected).toBeLessThan(1e-12)
    })
  })

  it.each([1, 2, 3])('gives the same bits with %i threads', async (count) => {
    const one = await host({ blockBytes: 128 })
    expect(await host({ count, blockBytes: 128 })).toEqual(one)
  })

  it('gives the same state whatever the blocks, and the same norm but for rounding', async () => {
    const [whole, cut] = [await host(), await host({ blockBytes: 16 })]
    cut.norms.forEach((norm, i) => {
      expect(Math.abs(norm - whole.norms[i]) / norm).toBeLessThan(1e-14)
    })
    expect(cut.state.first).toEqual(whole.state.first)
  })

  it.each([1, 2])('gives the same bits where parameters lie in several memories (threads: %i)', async (count) => {
    // `square` needs 32 KiB and a little, so that it lies in a memory of its own.
    const spread = await host({ bankBytes: 33_000, count })
    expect(spread).toEqual(await host())
  })

  it('adds up the rows of a looked-up table by token, pass by pass, from zeros at each step', async () => {
    const optimiser = await hostOptimiser(parameters, cpu.ort)
    const gradient = optimiser.gradients()!['gradient/square'].data as Float32Array
    const pass = (tokens: number[], value: number, first: boolean) => {
      const rows = new cpu.ort.Tensor('float32', new Float32Array(64 * tokens.length).fill(value), [tokens.length, 64])
      optimiser.keep({ 'rows/square': rows } as never, { tokens: Int32Array.from(tokens), first })
    }
    const rowsOf = (token: number) => [gradient[64 * token], gradient[64 * token + 63]]
    pass([3, 5, 3], 1, true)
    pass([5, 31], 10, false)
    expect([3, 5, 31, 4].map(rowsOf)).toEqual([
      [2, 2],
      [11, 11],
      [10, 10],
      [0, 0],
    ])
    pass([5], 7, true)
    expect([3, 5, 31].map(rowsOf)).toEqual([
      [0, 0],
      [7, 7],
      [0, 0],
    ])
    expect(await optimiser.norm()).toBeCloseTo(7 * 8, 10)
    await optimiser.release()
  })

  it('refuses a parameter that no memory holds, by name', async () => {
    await expect(hostOptimiser(parameters, cpu.ort, { bankBytes: 20_000 })).rejects.toMatchObject({
      kind: 'input',
      fault: { code: 'parameter-too-large', message: expect.stringContaining("'square'"), found: '[32, 64]' },
    })
  })

  it('works on one thread where the runtime takes no shared memory', async () => {
    const { Tensor } = cpu.ort
    const picky = {
      ...cpu.ort,
      InferenceSession: {
        create: async () => ({ run: () => Promise.reject(new Error('Invalid argument')), release: async () => {} }),
      },
      Tensor,
    }
    const parallel: Parallel = {
      threads: 2,
      start: () => {
        throw new Error('no worker is to be started')
      },
    }
    const optimiser = await hostOptimiser(parameters, picky as unknown as typeof cpu.ort, { parallel, worthThreads: 0 })
    expect(await stepped(optimiser)).toEqual(await host())
  })
})

describe.each(devices)('the graph of AdamW on $name', (device) => {
  it(device.name === 'cpu' ? 'gives the bits of the kernel' : 'agrees with the kernel to float32', async () => {
    const kernel = await host()
    const { state, norms } = await stepped(await deviceOptimiser(parameters, device), kernel.norms)
    norms.forEach((norm, i) => {
      expect(Math.abs(norm - kernel.norms[i]) / norm).toBeLessThan(1e-6)
    })
    if (device.name === 'cpu') expect(state).toEqual(kernel.state)
    for (const kind of ['parameters', 'first', 'second'] as const) {
      for (const [name, { data }] of state[kind]) {
        const expected = kernel.state[kind].get(name)!.data
        const worst = data.reduce(
          (most, x, i) => Math.max(most, Math.abs(x - expected[i]) / Math.max(1e-3, Math.abs(x))),
          0,
        )
        expect(worst, `${kind} of ${name}`).toBeLessThan(1e-5)
      }
    }
  })
})
