/** The stage that compares gradients of a sample of rows at checkpoints of a recorded proxy run. */

import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { sampleGroups } from '../analysis/gradient-similarity.ts'
import type { TensorMap } from '../engine/tensor.ts'
import { languageModel } from '../models/config.ts'
import type { Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import type { Manifest } from '../runs/manifest.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { gramMatrix } from '../training/gradient-gram.ts'
import { gradientSketch, sketchDimensions } from '../training/gradient-sketch.ts'
import { trainedParameters } from '../training/graphs.ts'
import type { TokenRows } from '../training/rows.ts'
import { windowLabels } from '../training/trajectories.ts'
import { checkpointColumns } from './analyse-options.ts'
import { checkpointFiles, readTensors } from './checkpoints.ts'
import { type Context, notify, perform } from './context.ts'
import { intactFile, stageValue } from './finished-run.ts'
import { sampleGradients } from './gradient-sample.ts'
import { scoringChunks } from './proxy.ts'
import type { TrajectoryFacts } from './trajectories.ts'

/** What gradients are taken of. */
export interface GradientSources {
  /** The stage that recorded the proxy's run. */
  recording: Manifest['stages'][number]
  rows: TokenRows
  /** sha256 of the tokens. */
  tokensHash: string
  /** Groups of rows, [N]: clusters or sources; those of `none` are in no group. */
  groups: { data: ArrayLike<number>; none?: number; hash: string }
  /** Rank of adapters and the weights beside them, where the proxy was trained by adapters. */
  lora?: { rank: number; frozen(): Promise<TensorMap>; hash: string }
  recompute: boolean
}

export interface ComparedGradients {
  rows: Uint32Array
  /** Group of each. */
  groups: Uint32Array
  parameters: number
  dimensions: number
  checkpoints: {
    checkpoint: number
    step: number
    nll: number
    /** [n, n] inner products. */
    gram: Float64Array
    /** [n] slopes of each row's loss along the way that the run went there; absent where no other checkpoint was kept. */
    slopes?: Float64Array
  }[]
  /** Of the stage. */
  hash: string
}

interface Asked {
  sample: number
  checkpoints: string
  seed: number
  maxLength: number
  /** Its version: another may add in another order. */
  onnxruntime: string
  /** Bytes that the vectors of a checkpoint may take. */
  bytes: number
}

/**
 * Inner products of the gradients of a balanced sample of rows (`sampleGroups`) at each checkpoint asked for: a cached stage, a part each
 * checkpoint. Gradients are kept whole where they fit `bytes`, else as count sketches. `undefined`, with a notice, where there is
 * no checkpoint or no group of two rows.
 */
export async function compareGradients(
  context: Context,
  sources: GradientSources,
  asked: Asked,
): Promise<ComparedGradients | undefined> {
  const { run, device } = context
  const { recording, rows, groups, lora } = sources
  const { steps } = stageValue(run, recording) as unknown as TrajectoryFacts
  const modelAt = (column: number) => {
    const path = column in steps ? checkpointFiles(recording.key, steps[column]).model : undefined
    return recording.outputs.find((output) => output.path === path)?.path
  }
  const kept = checkpointColumns(asked.checkpoints, steps.length).filter((column) => modelAt(column) !== undefined)
  const missed = checkpointColumns(asked.checkpoints, steps.length).length - kept.length
  if (missed > 0)
    notify(context, {
      code: 'checkpoints-not-kept',
      message: `the weights of ${missed} of the checkpoints asked for were not kept: of a pretrained proxy only the last are`,
    })
  const labels = windowLabels(rows, asked.maxLength)
  const eligible = Uint32Array.from(labels.keys()).filter((row) => labels[row] > 0 && groups.data[row] !== groups.none)
  const drawn = sampleGroups({ groups: groups.data, eligible, size: asked.sample, seed: asked.seed })
  if (kept.length === 0 || drawn.rows.length === 0) {
    notify(context, {
      code: 'no-gradients',
      message:
        kept.length === 0
          ? 'no checkpoint asked for was kept, so no gradients were compared'
          : 'no group has two rows with a loss, so no gradients were compared',
    })
    return undefined
  }
  const files = kept.map((column) => modelAt(column) as string)
  // The way that the run went: from the checkpoint before, at the first one to that after.
  const neighbours = kept.map((column) => modelAt(column - 1) ?? modelAt(column + 1))
  const configFile = `${dirname(files[0])}/config.json`
  const hashes: Record<string, string> = { tokens: sources.tokensHash, groups: groups.hash }
  for (const path of [configFile, ...files, ...neighbours.filter((path) => path !== undefined)])
    hashes[path] = (await intactFile(run, recording, path)).sha256
  if (lora) hashes.base = lora.hash
  const model = languageModel(JSON.parse(await readFile(run.path(configFile), 'utf8')), { file: run.path(configFile) })
  const parameters = trainedParameters(model, lora).reduce(
    (sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1),
    0,
  )
  const dimensions = sketchDimensions(drawn.rows.length, parameters, asked.bytes)
  const chunks = scoringChunks(Math.max(asked.maxLength, LEAST_POSITIONS), model.vocabularySize)
  const gramFiles = (key: string, column: number) => {
    const name = `signals/gradients/${key.slice(0, 12)}/step-${String(steps[column]).padStart(6, '0')}`
    return { gram: `${name}.npy`, slopes: `${name}.slopes.npy` }
  }
  const maybeTensors = async (path: string | undefined) =>
    path === undefined ? undefined : await readTensors(run.path(path))
  const result = await perform<Json>(context, {
    name: 'gradients',
    version: 1,
    inputs: hashes,
    options: {
      rows: Array.from(drawn.rows),
      seed: asked.seed,
      maxLength: asked.maxLength,
      dimensions,
      chunks,
      lora: lora?.rank ?? null,
      device: device.name,
      precision: device.precision ?? 'float32',
      onnxruntime: asked.onnxruntime,
    },
    async execute(work, progress) {
      const outputs: OutputRecord[] = []
      const nll: number[] = []
      const sketch = dimensions < parameters ? gradientSketch(parameters, dimensions, asked.seed) : undefined
      const total = kept.length * drawn.rows.length
      for (const [index, column] of kept.entries()) {
        const part = `step ${steps[column]}`
        const earlier = work.parts.find((one) => one.part === part && one.outputs.every(({ intact }) => intact))
        if (earlier !== undefined) {
          outputs.push(...earlier.outputs)
          nll.push(earlier.value as number)
          continue
        }
        const { vectors, slopes, mean } = await sampleGradients({
          ...{ model, device, chunks, sketch, parameters, maxLength: asked.maxLength, recompute: sources.recompute },
          ...{ rows, drawn: drawn.rows, signal: context.signal },
          weights: await readTensors(work.path(files[index])),
          neighbour: await maybeTensors(neighbours[index]),
          ...(lora && { lora: { rank: lora.rank }, frozen: await lora.frozen() }),
          onRow: (done) =>
            progress({
              fraction: (index * drawn.rows.length + done) / total,
              detail: `checkpoint ${index + 1} of ${kept.length}`,
              done: index * drawn.rows.length + done,
              unit: 'rows',
            }),
        })
        const gram = await gramMatrix(vectors, drawn.rows.length, device, context.signal)
        const size = drawn.rows.length
        const place = gramFiles(work.key, column)
        const written = [await work.write(place.gram, writeNpy({ shape: [size, size], data: gram }))]
        if (slopes) written.push(await work.write(place.slopes, writeNpy({ shape: [size], data: slopes })))
        await work.finishPart(part, written, mean)
        outputs.push(...written)
        nll.push(mean)
      }
      return { outputs, value: { nll } }
    },
    summary: () =>
      `${drawn.rows.length} rows, ${kept.length} checkpoint${kept.length === 1 ? '' : 's'}, ${parameters.toLocaleString('en')} parameters${dimensions < parameters ? `, sketched to ${dimensions.toLocaleString('en')}` : ''}`,
  })
  const { nll } = result.value as { nll: number[] }
  const checkpoints = await Promise.all(
    kept.map(async (column, index) => ({
      checkpoint: column + 1,
      step: steps[column],
      nll: nll[index],
      gram: readNpy(await readFile(run.path(gramFiles(result.key, column).gram))).data as Float64Array,
      ...(neighbours[index] && {
        slopes: readNpy(await readFile(run.path(gramFiles(result.key, column).slopes))).data as Float64Array,
      }),
    })),
  )
  return { ...drawn, parameters, dimensions, checkpoints, hash: result.hash }
}

/** Positions that a batch is filled up to, at most (`paddingFor`). */
const LEAST_POSITIONS = 1024
