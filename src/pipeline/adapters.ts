/** Low-rank adapters as PEFT saves them, and the weights with them added in. */

import { join } from 'node:path'
import type { WeightFiles } from '../hub/model-files.ts'
import { createAtomicFile, writeFileAtomic } from '../runs/files.ts'
import { type LoraOptions, loraScale, mergeLora } from '../training/lora.ts'
import { allTensors, commitTensors } from './checkpoints.ts'
import type { Pretrained } from './pretrained.ts'
import type { TrainedProxy } from './proxy.ts'

export interface SavedAdapters {
  directory: string
  /** A parameter of the model with its adapter added in. */
  merged(name: string): Float32Array
}

interface Adapted {
  proxy: TrainedProxy
  pretrained: Pretrained
  trained: WeightFiles
  lora: LoraOptions
}

/** Writes `adapter_config.json` and `adapter_model.safetensors`: `PeftModel.from_pretrained(model, directory)` loads them. */
export async function saveAdapters(
  directory: string,
  { proxy, pretrained, trained, lora }: Adapted,
): Promise<SavedAdapters> {
  const adapters = await allTensors(trained)
  const { model } = proxy
  await using file = await createAtomicFile(join(directory, 'adapter_model.safetensors'))
  await commitTensors(file, adapters, { format: 'pt' })
  const { id, revision } = pretrained.files.source
  const config = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: id,
    revision: revision ?? null,
    r: lora.rank,
    lora_alpha: loraScale(lora) * lora.rank,
    lora_dropout: 0,
    bias: 'none',
    fan_in_fan_out: model.linears.some(({ layout }) => layout === 'in-out'),
    target_modules: [...new Set(model.linears.map(({ module }) => module.split('.').at(-1) as string))],
    inference_mode: true,
  }
  await writeFileAtomic(join(directory, 'adapter_config.json'), `${JSON.stringify(config, null, 2)}\n`)
  const merged = mergeLora(model, await pretrained.weights(), adapters, lora)
  return { directory, merged: (name) => (merged.get(name) as { data: Float32Array }).data }
}
