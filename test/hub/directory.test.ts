import { createHash } from 'node:crypto'
import { readFile, rm, truncate } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openModelDirectory } from '../../src/hub/directory.ts'
import { readSafetensors, writeSafetensors } from '../../src/models/safetensors.ts'
import { failure, LFS_POINTER, put, SAVED, savedModel, scratch } from './scratch.ts'

const tensor = (...values: number[]) => ({ shape: [values.length], data: Float32Array.from(values) })
const shard = (tensors: Record<string, ReturnType<typeof tensor>>, dtype?: 'F16' | 'BF16') =>
  writeSafetensors(new Map(Object.entries(tensors)), { format: 'pt' }, dtype)
const INDEX = 'model.safetensors.index.json'
const sharded = (changes: Record<string, string | Uint8Array | object> = {}) => ({
  'config.json': { model_type: 'llama' },
  [INDEX]: {
    metadata: { total_size: 20 },
    weight_map: { a: 'm-1.safetensors', b: 'm-1.safetensors', c: 'm-2.safetensors' },
  },
  'm-1.safetensors': shard({ a: tensor(1, 2), b: tensor(3) }),
  'm-2.safetensors': shard({ c: tensor(4, 5) }),
  ...changes,
})
const modelWith = async (files: Record<string, string | Uint8Array | object>) => {
  const directory = await scratch()
  await put(directory, files)
  return directory
}

describe('a model directory', () => {
  it('that transformers saved is read tensor by tensor as the whole file would be', async () => {
    await using model = await openModelDirectory(SAVED)
    const { tensors } = readSafetensors(await readFile(join(SAVED, 'model.safetensors')))
    expect(model.config.model_type).toBe('llama')
    expect(model.source).toEqual({ kind: 'directory', id: SAVED })
    expect([...model.weights.names().keys()]).toEqual([...tensors.keys()])
    for (const [name, { shape, data }] of tensors) {
      expect(model.weights.names().get(name)).toEqual({ dtype: 'F32', shape })
      expect(await model.weights.read(name)).toEqual(data)
    }
    expect(model.weights.files).toEqual([{ path: join(SAVED, 'model.safetensors'), bytes: 25952 }])
  })

  it('in shards is read through its index, half precision as float32', async () => {
    const directory = await modelWith(sharded({ 'm-2.safetensors': shard({ c: tensor(4, 0.1) }, 'BF16') }))
    await using model = await openModelDirectory(directory)
    expect([...model.weights.names()].map(([name, { dtype }]) => `${name} ${dtype}`)).toEqual([
      'a F32',
      'b F32',
      'c BF16',
    ])
    const [a, b, c] = await Promise.all(['a', 'b', 'c'].map((name) => model.weights.read(name)))
    expect([[...a], [...b], [...c]]).toEqual([[1, 2], [3], [4, 0.10009765625]])
  })

  it('reads tensors larger than what it decodes at once', async () => {
    const data = Float32Array.from({ length: 5_000_001 }, (_, i) => i % 2048)
    const file = writeSafetensors(
      new Map([
        ['first', tensor(7)],
        ['big', { shape: [5_000_001], data }],
      ]),
      {},
      'F16',
    )
    await using model = await openModelDirectory(await modelWith({ 'config.json': {}, 'model.safetensors': file }))
    const found = await model.weights.read('big')
    expect(found.length).toBe(data.length)
    expect(Buffer.compare(Buffer.from(found.buffer), Buffer.from(data.buffer))).toBe(0)
  })

  it('prefers the single file where an index is there too, as transformers does', async () => {
    const directory = await modelWith(sharded({ 'model.safetensors': shard({ only: tensor(1) }) }))
    await using model = await openModelDirectory(directory)
    expect([...model.weights.names().keys()]).toEqual(['only'])
    expect(Object.keys(await model.hashes())).toEqual(['config.json', 'model.safetensors'])
  })

  it('gives tokenizer, generation config and special tokens as they stand, and names remote code without running it', async () => {
    const directory = await savedModel()
    await put(directory, {
      'tokenizer.json': '{ "model": {} }',
      'tokenizer_config.json': { eos_token: '</s>' },
      'generation_config.json': { eos_token_id: 2 },
      'special_tokens_map.json': { bos_token: '<s>' },
      'config.json': { model_type: 'odd', auto_map: { AutoModelForCausalLM: 'modeling_odd.Odd' } },
      'modeling_odd.py': 'raise SystemExit',
    })
    await using model = await openModelDirectory(directory)
    expect(model).toMatchObject({
      tokenizerJson: '{ "model": {} }',
      tokenizerConfig: { eos_token: '</s>' },
      generationConfig: { eos_token_id: 2 },
      specialTokensMap: { bos_token: '<s>' },
      remoteCode: { AutoModelForCausalLM: 'modeling_odd.Odd' },
      chatTemplates: {},
    })
  })

  it('has the sha256 of every file it read', async () => {
    const directory = await modelWith(sharded({ 'additional_chat_templates/tool.jinja': 'x', 'README.md': 'not read' }))
    await using model = await openModelDirectory(directory)
    const hashes = await model.hashes()
    await using again = await openModelDirectory(`${relative(process.cwd(), directory)}/./`)
    expect(await again.hashes()).toEqual(hashes)
    expect(Object.keys(hashes)).toEqual([
      'config.json',
      INDEX,
      'm-1.safetensors',
      'm-2.safetensors',
      'additional_chat_templates/tool.jinja',
    ])
    const bytes = await readFile(join(directory, 'm-2.safetensors'))
    expect(hashes['m-2.safetensors']).toEqual({
      size: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    })
  })
})

describe('chat templates', () => {
  const config = (chat_template: unknown) => ({ 'tokenizer_config.json': { chat_template } })
  it.each([
    ['a string of the tokenizer config', config('T'), { default: 'T' }],
    [
      'a list of it',
      config([
        { name: 'default', template: 'T' },
        { name: 'tool_use', template: 'U' },
      ]),
      { default: 'T', tool_use: 'U' },
    ],
    [
      'chat_template.json before it',
      { ...config('T'), 'chat_template.json': { chat_template: 'J' } },
      { default: 'J' },
    ],
    [
      'chat_template.jinja before both, more of them beside it',
      {
        ...config('T'),
        'chat_template.json': { chat_template: 'J' },
        'chat_template.jinja': 'F',
        'additional_chat_templates/rag.jinja': 'R',
        'additional_chat_templates/notes.txt': 'N',
      },
      { default: 'F', rag: 'R' },
    ],
  ])('come from %s', async (_, files, expected) => {
    const directory = await savedModel()
    await put(directory, files)
    await using model = await openModelDirectory(directory)
    expect(model.chatTemplates).toEqual(expected)
  })
})

describe('a model directory at fault', () => {
  it.each([
    ['without config.json', { 'model.safetensors': shard({}) }, 'incomplete-model', /no config\.json/],
    [
      'with a config that is no JSON',
      sharded({ 'config.json': '{' }),
      'bad-json',
      /config\.json: the file is not valid/,
    ],
    ['with a config that is a list', sharded({ 'config.json': '[]' }), 'bad-json', /JSON object/],
    ['without weights', { 'config.json': {} }, 'no-safetensors', /there are no weights/],
    ['with GGUF only', { 'config.json': {}, 'q4.gguf': '' }, 'no-safetensors', /only GGUF weights/],
    [
      'with pickled weights',
      { 'config.json': {}, 'pytorch_model-00001-of-00002.bin': '', 'training_args.bin': '' },
      'pickled-weights',
      /runs whatever code.*found pytorch_model-00001-of-00002\.bin,.*safe_serialization=True/,
    ],
    [
      'with an adapter',
      { 'config.json': {}, 'adapter_config.json': {}, 'adapter_model.safetensors': '' },
      'adapter-only',
      /PEFT/,
    ],
    [
      'cloned without git-lfs',
      { 'config.json': {}, 'model.safetensors': LFS_POINTER },
      'lfs-pointer',
      /model\.safetensors: .*expected 25952 bytes.*git lfs pull/,
    ],
    [
      'with a tokenizer left as a pointer',
      sharded({ 'tokenizer.json': LFS_POINTER }),
      'lfs-pointer',
      /tokenizer\.json/,
    ],
    ['with an index that is no JSON', sharded({ [INDEX]: '{"weight_map":' }), 'bad-weight-index', /not valid JSON/],
    ['with an index of nothing', sharded({ [INDEX]: { weight_map: {} } }), 'bad-weight-index', /names no tensor/],
    ['with an index without a map', sharded({ [INDEX]: {} }), 'bad-weight-index', /no weight_map/],
    [
      'whose index leads out of it',
      sharded({ [INDEX]: { weight_map: { a: '../m-1.safetensors' } } }),
      'bad-weight-index',
      /'a' no file name beside it/,
    ],
    [
      'whose index places a tensor where it is not',
      sharded({ 'm-2.safetensors': shard({ d: tensor(1) }) }),
      'weight-index-mismatch',
      /m-2\.safetensors: the shard lacks tensor 'c'/,
    ],
    [
      'whose shard holds what the index lacks',
      sharded({ 'm-2.safetensors': shard({ c: tensor(4), d: tensor(1) }) }),
      'weight-index-mismatch',
      /m-2\.safetensors: the shard holds tensor 'd', which model\.safetensors\.index\.json lacks/,
    ],
    [
      'whose shards hold one tensor twice',
      sharded({ 'm-2.safetensors': shard({ a: tensor(1), c: tensor(4) }) }),
      'weight-index-mismatch',
      /'a', which .* places in m-1\.safetensors/,
    ],
    [
      'with a torn shard',
      sharded({ 'm-2.safetensors': shard({ c: tensor(4, 5) }).subarray(0, -3) }),
      'bad-safetensors',
      /m-2.*3 bytes are missing/,
    ],
  ])('%s is refused by name', async (_, files, code, message) => {
    const error = await failure(openModelDirectory(await modelWith(files)))
    expect(error.fault.code).toBe(code)
    expect(error.message).toMatch(message)
  })

  it('with a small file that is not small is refused before it is read', async () => {
    const directory = await modelWith(sharded({ 'tokenizer.json': '' }))
    await truncate(join(directory, 'tokenizer.json'), 600_000_000)
    expect((await failure(openModelDirectory(directory))).fault).toMatchObject({
      code: 'file-too-large',
      file: join(directory, 'tokenizer.json'),
      found: '600000000 bytes',
    })
  })

  it('that is not there, or is a file, is a missing model', async () => {
    const directory = await modelWith({ file: '' })
    for (const name of ['none', 'file'])
      expect((await failure(openModelDirectory(join(directory, name)))).fault.code).toBe('missing-model')
  })

  it('names the shard that is missing', async () => {
    const directory = await modelWith(sharded())
    await rm(join(directory, 'm-1.safetensors'))
    const { fault } = await failure(openModelDirectory(directory))
    expect(fault).toMatchObject({ code: 'missing-shard', file: join(directory, 'm-1.safetensors') })
  })

  it('says so when the file is cut while it is in use, and which tensors there are not', async () => {
    const directory = await savedModel()
    await using model = await openModelDirectory(directory)
    const last = [...model.weights.names().keys()].at(-1) as string
    await truncate(join(directory, 'model.safetensors'), 25_000)
    expect((await failure(model.weights.read(last))).message).toMatch(new RegExp(`'${last}' ends before its last byte`))
    expect((await failure(model.weights.read('lm_head.wieght'))).fault.code).toBe('missing-tensor')
  })

  it('refuses a type it does not read only when the tensor is asked for', async () => {
    const head = JSON.stringify({ q: { dtype: 'I8', shape: [2], data_offsets: [0, 2] } })
    const file = Buffer.alloc(8 + head.length + 2)
    file.writeBigUInt64LE(BigInt(head.length))
    file.write(head, 8)
    await using model = await openModelDirectory(await modelWith({ 'config.json': {}, 'model.safetensors': file }))
    expect(model.weights.names().get('q')).toEqual({ dtype: 'I8', shape: [2] })
    expect((await failure(model.weights.read('q'))).fault).toMatchObject({ code: 'unsupported-dtype', found: 'I8' })
  })
})
