import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { expect, it } from 'vitest'
import { gradients } from '../../src/engine/gradient.ts'
import { tokenNll } from '../../src/engine/operators/loss.ts'
import { weightedNll } from '../../src/engine/operators/weighted-nll.ts'
import { compile } from '../../src/engine/session.ts'
import { input, type Tensor } from '../../src/engine/tensor.ts'
import { languageModel } from '../../src/models/config.ts'
import { initialParameters } from '../../src/models/parameters.ts'
import { cpu } from '../engine/devices.ts'

const configs = [
  { model_type: 'gpt_neox', hidden_size: 128, intermediate_size: 384, num_hidden_layers: 1, num_attention_heads: 4 },
  { model_type: 'gpt2', n_embd: 128, n_inner: 384, n_layer: 1, n_head: 4 },
  {
    model_type: 'qwen3',
    hidden_size: 128,
    intermediate_size: 384,
    num_hidden_layers: 1,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 32,
    attention_bias: true,
  },
]
const [vocabulary, rows, length] = [512, 9, 60]

/** Bytes of the loss, the NLLs and every gradient; as many labels as the widest layer has columns, as batches are padded. */
async function bytesOf(config: Record<string, unknown>, threads: number): Promise<Buffer[]> {
  const model = languageModel({ ...config, vocab_size: vocabulary })
  const labels = Math.max(...model.columns)
  const graph = model.graph({ positions: input('positions', ['labels'], 'int32'), maxLength: 64 })
  const targets = input('targets', ['labels'], 'int32')
  const loss = weightedNll(graph.hidden, graph.output, targets, input('labelWeights', ['labels']))
  const found = gradients(loss, [...graph.parameters.values()])
  const outputs: Record<string, Tensor> = { loss, nll: tokenNll(graph.hidden, graph.output, targets) }
  for (const [i, gradient] of found.entries()) outputs[`gradient ${i}`] = gradient
  const executable = await compile(outputs, { ...cpu, threads })
  const int32 = (shape: number[], f: (i: number) => number) =>
    new cpu.ort.Tensor(
      'int32',
      Int32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => f(i)),
      shape,
    )
  const weights = [...initialParameters(model.parameters, 1)].map(([name, { shape, data }]) => [
    name,
    new cpu.ort.Tensor('float32', data, shape),
  ])
  const results = await executable.run({
    ...(Object.fromEntries(weights) as Record<string, OrtTensor>),
    tokens: int32([rows, length], (i) => (i * 37 + (i % 17)) % vocabulary),
    positions: int32([labels], (i) => i % (rows * length)),
    labelWeights: new cpu.ort.Tensor('float32', new Float32Array(labels).fill(0.01), [labels]),
    targets: int32([labels], (i) => (i * 5) % vocabulary),
  })
  await executable.release()
  return Object.values(results).map(({ data }) => Buffer.from((data as Float32Array).buffer))
}

it.each(configs)('$model_type: gives the same bits with one thread, two and three', async (config) => {
  const one = await bytesOf(config, 1)
  for (const threads of [2, 3]) {
    const other = await bytesOf(config, threads)
    expect(one.map((bytes, i) => bytes.equals(other[i])).filter((same) => !same)).toEqual([])
  }
})
