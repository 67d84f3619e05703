import { readdir } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { resolveEncoder } from '../../src/hub/encoder.ts'
import { COMMIT, ID, modelFiles, situation } from './hub-model.ts'
import { failure } from './scratch.ts'

const json = (value: unknown) => Buffer.from(JSON.stringify(value))

const encoderFiles = async (): Promise<Record<string, Uint8Array>> => ({
  ...(await modelFiles()),
  'onnx/model.onnx': Buffer.from('graph'),
  'onnx/model.onnx_data': Buffer.from('tensors'),
  'onnx/model_fp16.onnx': Buffer.from('half'),
  'openvino/openvino_model.bin': Buffer.from('other'),
  'modules.json': json([
    { path: '', type: 'sentence_transformers.models.Transformer' },
    { path: '1_Pooling', type: 'sentence_transformers.models.Pooling' },
  ]),
  '1_Pooling/config.json': json({ pooling_mode_cls_token: true }),
  '1_Pooling/notes.txt': Buffer.from('not read'),
})

const fetched = (requests: { path: string }[]) =>
  requests.flatMap(({ path }) => /\/resolve\/[0-9a-f]{40}\/(.+)$/.exec(path)?.[1] ?? []).sort()

describe('an encoder of the hub', () => {
  it('is fetched at its commit: graph, tokenizer, pooling, no weights', async () => {
    const { hub, options } = await situation(await encoderFiles())
    const files = await resolveEncoder(ID, options)
    expect(files.source).toEqual({ kind: 'hub', id: ID, revision: COMMIT })
    expect(files.graph).toBe('onnx/model.onnx')
    expect(files.pooling).toEqual({ pooling_mode_cls_token: true })
    const read = [
      '1_Pooling/config.json',
      'config.json',
      'modules.json',
      'onnx/model.onnx',
      'onnx/model.onnx_data',
      'tokenizer.json',
      'tokenizer_config.json',
    ]
    expect(fetched(hub.requests)).toEqual(read)
    expect(Object.keys(await files.hashes()).sort()).toEqual(read)
  })

  it('costs one request the second time, none by its commit, and is there offline', async () => {
    const { hub, options } = await situation(await encoderFiles())
    await resolveEncoder(ID, options)
    const first = hub.requests.length
    await resolveEncoder(ID, options)
    expect(hub.requests.length).toBe(first + 1)
    await resolveEncoder(`${ID}@${COMMIT}`, options)
    await resolveEncoder(ID, { ...options, offline: true })
    expect(hub.requests.length).toBe(first + 1)
  })

  it('in another dtype is another graph, and of the rest nothing is fetched again', async () => {
    const { hub, options } = await situation(await encoderFiles())
    await resolveEncoder(ID, options)
    const first = fetched(hub.requests).length
    const files = await resolveEncoder(ID, { ...options, dtype: 'fp16' })
    expect(files.graph).toBe('onnx/model_fp16.onnx')
    expect(fetched(hub.requests).length).toBe(first + 1)
    const half = await failure(resolveEncoder(ID, { ...options, dtype: 'q8', offline: true }))
    expect(half.fault).toMatchObject({ code: 'offline', message: expect.stringContaining('model_quantized.onnx') })
  })

  it('without a graph or a tokenizer is refused before anything is fetched', async () => {
    const { hub, options } = await situation(await modelFiles().then(({ 'onnx/model.onnx': _, ...files }) => files))
    expect((await failure(resolveEncoder(ID, options))).fault.code).toBe('no-onnx')
    expect(fetched(hub.requests)).toEqual([])
    const { 'tokenizer.json': _, ...without } = await encoderFiles()
    const other = await situation(without)
    expect((await failure(resolveEncoder(ID, other.options))).fault.code).toBe('missing-tokenizer')
    expect(fetched(other.hub.requests)).toEqual([])
  })

  it('shares the cache with the model of the same repository', async () => {
    const { options, folder } = await situation(await encoderFiles())
    await resolveEncoder(ID, options)
    expect(await readdir(folder)).toContain('snapshots')
    const { resolveModel } = await import('../../src/hub/resolve.ts')
    await using model = await resolveModel(ID, options)
    expect(model.directory).toBe((await resolveEncoder(ID, options)).directory)
  })
})
