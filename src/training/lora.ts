/** Low-rank adapters: W + (alpha / rank) B A beside every linear layer, for models too large to train whole. */

import { input, type TensorMap } from '../engine/tensor.ts'
import type { Adapters } from '../models/linear.ts'
import type { LanguageModel } from '../models/model.ts'
import type { Parameter } from '../models/parameters.ts'

export interface LoraOptions {
  /** r */
  rank: number
  /** The update is scaled by alpha / rank. Default 2 rank. */
  alpha?: number
}

const names = (module: string) => ({
  a: `base_model.model.${module}.lora_A.weight`,
  b: `base_model.model.${module}.lora_B.weight`,
})

export const loraScale = ({ rank, alpha = 2 * rank }: LoraOptions): number => alpha / rank

/**
 * Parameters of the adapters, with PEFT's names and layouts: A [rank, inputs] uniform in +-1/sqrt(inputs) (Kaiming with a = sqrt 5, as
 * PEFT starts it; here normal of the same variance), B [outputs, rank] zero, so that training starts at the model itself.
 */
export function loraParameters(model: LanguageModel, { rank }: LoraOptions): Parameter[] {
  return model.linears.flatMap(({ module, inputs, outputs }): Parameter[] => [
    {
      name: names(module).a,
      shape: [rank, inputs],
      initial: { kind: 'normal', deviation: 1 / Math.sqrt(3 * inputs) },
      decay: true,
    },
    { name: names(module).b, shape: [outputs, rank], initial: { kind: 'zeros' }, decay: true },
  ])
}

/** The adapters as graph inputs. */
export function loraAdapters(model: LanguageModel, options: LoraOptions): Adapters {
  return new Map(
    model.linears.map(({ module, inputs, outputs }) => [
      module,
      {
        a: input(names(module).a, [options.rank, inputs]),
        b: input(names(module).b, [outputs, options.rank]),
        scale: loraScale(options),
      },
    ]),
  )
}

/**
 * The model's parameters with the adapters added in: W + scale B A (transposed where the weight is [inputs, outputs]), summed in float64.
 * O(rank) a weight.
 */
export function mergeLora(
  model: LanguageModel,
  weights: TensorMap,
  adapters: TensorMap,
  options: LoraOptions,
): TensorMap {
  const merged: TensorMap = new Map(weights)
  const scale = loraScale(options)
  for (const { module, inputs, outputs, layout = 'out-in' } of model.linears) {
    const [a, b] = [adapters.get(names(module).a), adapters.get(names(module).b)]
    const weight = weights.get(`${module}.weight`)
    if (a === undefined || b === undefined || weight === undefined) continue
    const data = weight.data.slice()
    for (let o = 0; o < outputs; o++) {
      for (let i = 0; i < inputs; i++) {
        let sum = 0
        for (let r = 0; r < options.rank; r++) sum += b.data[o * options.rank + r] * a.data[r * inputs + i]
        data[layout === 'out-in' ? o * inputs + i : i * outputs + o] += scale * sum
      }
    }
    merged.set(`${module}.weight`, { shape: weight.shape, data })
  }
  return merged
}
