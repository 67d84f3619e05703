/** Training state on a device: each step's results are the next step's inputs, and never leave it. */

import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { sqrt } from '../engine/operators/elementwise.ts'
import { sumOfSquares } from '../engine/operators/reduce.ts'
import { compile, type Device } from '../engine/session.ts'
import { input, type TensorMap } from '../engine/tensor.ts'
import type { Parameter } from '../models/parameters.ts'
import { type AdamWScalars, adamw, SCALAR_NAMES } from './adamw.ts'
import type { Optimiser } from './optimiser.ts'

const KINDS = ['parameters', 'first', 'second'] as const
type Kind = (typeof KINDS)[number]

/** Compiles the step for `device`. The state starts undefined: call `write`. */
export async function deviceOptimiser(parameters: readonly Parameter[], device: Device): Promise<Optimiser> {
  const { ort } = device
  const inputs = (kind: string) => parameters.map(({ name, shape }) => input(`${kind}/${name}`, shape))
  const [values, gradients, first, second] = ['parameters', 'gradient', 'first', 'second'].map(inputs)
  const stepped = adamw(
    parameters.map(({ decay }, i) => ({
      value: values[i],
      gradient: gradients[i],
      first: first[i],
      second: second[i],
      decay,
    })),
  )
  const named = parameters.flatMap(({ name }, i) => [
    [`next/parameters/${name}`, stepped[i].value] as const,
    [`next/first/${name}`, stepped[i].first] as const,
    [`next/second/${name}`, stepped[i].second] as const,
  ])
  const step = await compile(Object.fromEntries(named), device, { keep: named.map(([name]) => name) })
  const measure = await compile({ norm: sqrt(sumOfSquares(inputs('gradient'))) }, device)
  // ONNX Runtime's Node binding cannot read a device buffer; a graph of identities can.
  const copies = KINDS.flatMap((kind) => inputs(kind).map((tensor) => [`copy/${tensor.node.name}`, tensor] as const))
  const download = await compile(Object.fromEntries(copies), device)

  let state: Record<string, OrtTensor> = {}
  let held: Record<string, OrtTensor> = {}
  const drop = (tensors: Record<string, OrtTensor>) => {
    for (const tensor of Object.values(tensors)) if (tensor.location === 'gpu-buffer') tensor.dispose()
  }
  return {
    parameters: () => Object.fromEntries(parameters.map(({ name }) => [name, state[`parameters/${name}`]])),
    gradients: () => held,
    keep(results) {
      const before = held
      held = Object.fromEntries(parameters.map(({ name }) => [`gradient/${name}`, results[`gradient/${name}`]]))
      drop(before)
    },
    norm: async () => ((await measure.run(held)).norm.data as Float32Array)[0],
    async update(scalars: AdamWScalars) {
      const fed = SCALAR_NAMES.map((name) => [name, new ort.Tensor('float32', Float32Array.of(scalars[name]), [])])
      const results = await step.run({ ...state, ...held, ...Object.fromEntries(fed) })
      const before = state
      state = Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name.replace('next/', ''), tensor]))
      drop(before)
    },
    async read() {
      const results = await download.run(state)
      const map = (kind: Kind): TensorMap =>
        new Map(
          parameters.map(({ name, shape }) => [
            name,
            { shape, data: results[`copy/${kind}/${name}`].data as Float32Array },
          ]),
        )
      return { parameters: map('parameters'), first: map('first'), second: map('second') }
    },
    write(values) {
      drop(state)
      state = Object.fromEntries(
        KINDS.flatMap((kind) =>
          parameters.map(({ name, shape }) => {
            const tensor = values[kind].get(name)
            if (tensor === undefined) throw new Error(`state: ${kind} of '${name}' is missing`)
            return [`${kind}/${name}`, new ort.Tensor('float32', tensor.data.slice(), shape) as OrtTensor]
          }),
        ),
      )
    },
    async release() {
      drop(state)
      drop(held)
      await Promise.all([step, measure, download].map((session) => session.release()))
    },
  }
}
