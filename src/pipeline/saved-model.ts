/** The step that saves what was trained in the Hugging Face layout, with adapters beside it. */

import { join } from 'node:path'
import { type SavedModel as ModelDirectory, writeModelDirectory } from '../hub/saving.ts'
import { openSafetensors } from '../hub/weights.ts'
import type { SavedFormat } from '../models/float-formats.ts'
import type { FileRecord } from '../runs/hash.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { type SavedAdapters, saveAdapters } from './adapters.ts'
import { type Context, stageName } from './context.ts'
import type { Pretrained } from './pretrained.ts'
import type { TrainedProxy } from './proxy.ts'

export interface SavedModel {
  bytes: number
  files: string[]
  /** Directory of the adapters in PEFT's layout. */
  adapters?: string
}

interface Saving {
  directory: string
  /** What the weights are saved in. */
  dtype: SavedFormat
  /** safetensors file with what was trained. */
  state: string
  proxy: TrainedProxy
  /** The model whose files go with the weights; nano has none. */
  pretrained?: Pretrained
  tokenizer: Tokenizer
}

type WrittenModel = Pick<Saving, 'proxy' | 'pretrained' | 'tokenizer'>

/** Writes weights with the files that the model came with, or nano's. Size and sha256 of each file by its name. */
export function writeModel(
  directory: string,
  { proxy, pretrained, tokenizer }: WrittenModel,
  weights: Pick<ModelDirectory, 'tensors' | 'dtype' | 'maximumShardBytes'>,
): Promise<Record<string, FileRecord>> {
  const files = pretrained?.files
  return writeModelDirectory(directory, {
    config: { ...proxy.model.config },
    tokenizerJson: files?.tokenizerJson ?? tokenizer.toJSON(),
    tokenizerConfig: files?.tokenizerConfig,
    generationConfig: files?.generationConfig,
    specialTokensMap: files?.specialTokensMap,
    chatTemplates: files?.chatTemplates,
    ...weights,
  })
}

/** Writes the model directory, and with adapters `adapter/` in it. A kill leaves what stood there, or no model. */
export async function saveModel(
  context: Context,
  { directory, dtype, state, proxy, pretrained, tokenizer }: Saving,
): Promise<SavedModel> {
  const started = performance.now()
  const stage = stageName(context, 'save')
  context.emit({ kind: 'stage-start', stage, resumedParts: 0 })
  await using trained = await openSafetensors(state)
  const { lora } = proxy.choices
  const adapters: SavedAdapters | undefined =
    lora && pretrained && (await saveAdapters(join(directory, 'adapter'), { proxy, pretrained, trained, lora }))
  const tensors = proxy.model.parameters.map(({ name, shape }) => {
    const data = adapters ? () => adapters.merged(name) : () => trained.read(name)
    return [name, { shape, data }] as const
  })
  const written = await writeModel(directory, { proxy, pretrained, tokenizer }, { tensors, dtype })
  const bytes = Object.values(written).reduce((total, { size }) => total + size, 0)
  const seconds = (performance.now() - started) / 1000
  context.stages.push({ name: stage, seconds, cached: false })
  context.emit({ kind: 'stage-end', stage, cached: false, seconds, summary: directory })
  return { bytes, files: Object.keys(written), adapters: adapters?.directory }
}
