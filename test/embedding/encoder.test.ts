import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { type EncoderOptions, openEncoder } from '../../src/embedding/encoder.ts'
import { failure } from '../hub/scratch.ts'
import { decoderGraph, expected, HALF, pooledGraph, TABLE_WIDTH, TINY, tableGraph, variant } from './encoders.ts'
import { largestDifference, normalised, row } from './vectors.ts'

const { texts } = expected
const open = (options: Partial<EncoderOptions> = {}) => openEncoder({ model: TINY, threads: 1, ...options })

describe('the vectors of an encoder', () => {
  it.each([
    ['mean', 'mean'],
    ['cls', 'cls'],
    ['last', 'lasttoken'],
    ['weighted-mean', 'weightedmean'],
  ] as const)("with pooling %s are sentence-transformers'", async (pooling, mode) => {
    await using raw = await open({ pooling, normalise: false })
    await using scaled = await open({ pooling })
    const [vectors, unit] = [await raw.embed(texts), await scaled.embed(texts)]
    expected.vectors[mode].forEach((vector, i) => {
      expect(largestDifference(row(vectors, i, 32), vector)).toBeLessThan(1e-5)
      expect(largestDifference(row(unit, i, 32), normalised(vector))).toBeLessThan(1e-5)
    })
  })

  it('are in the order of the texts, whatever company these are in', async () => {
    await using encoder = await open()
    const all = await encoder.embed(texts)
    const turned = await encoder.embed(texts.toReversed())
    for (const [i, text] of texts.entries()) {
      const alone = await encoder.embed([text])
      expect(largestDifference(alone, row(all, i, 32))).toBeLessThan(1e-6)
      expect(largestDifference(row(turned, texts.length - 1 - i, 32), row(all, i, 32))).toBeLessThan(1e-6)
    }
  })

  it('hardly depend on the size of batches', async () => {
    await using small = await open({ tokensPerBatch: 1 })
    await using large = await open({ tokensPerBatch: 100_000 })
    expect(largestDifference(await small.embed(texts), await large.embed(texts))).toBeLessThan(1e-6)
  })

  it('are the same bits call after call and with any number of threads', async () => {
    const many = Array.from({ length: 60 }, (_, i) => texts[i % texts.length].slice(i % 7))
    const found = []
    for (const threads of [1, 1, 2, 3]) {
      await using encoder = await open({ threads })
      found.push([await encoder.embed(many), await encoder.embed(many), await encoder.embed([texts[0]])])
    }
    expect(found[0][0]).toEqual(found[0][1])
    for (const other of found.slice(1)) expect(other).toEqual(found[0])
  })

  it('are none for no texts, and of length 1 for an empty text', async () => {
    await using encoder = await open()
    expect((await encoder.embed([])).length).toBe(0)
    expect(Math.hypot(...(await encoder.embed(['']))).toFixed(6)).toBe('1.000000')
  })

  it('are zero for a text without tokens', async () => {
    const model = await variant({ 'tokenizer.json': await withoutSpecialTokens() })
    await using encoder = await open({ model })
    const vectors = await encoder.embed(['', 'oil', ' \n'])
    expect([...vectors.subarray(0, 32), ...vectors.subarray(64)]).toEqual(Array(64).fill(0))
    expect(Math.hypot(...vectors.subarray(32, 64)).toFixed(6)).toBe('1.000000')
  })

  it('take half of a surrogate pair for the character that stands for it', async () => {
    await using encoder = await open()
    expect(await encoder.embed(['oil \ud83d'])).toEqual(await encoder.embed(['oil \ufffd']))
  })
})

/** tokenizer.json that puts no [CLS] and [SEP] around a text. */
async function withoutSpecialTokens(): Promise<object> {
  return { ...JSON.parse(await readFile(join(TINY, 'tokenizer.json'), 'utf8')), post_processor: null }
}

describe('an encoder', () => {
  it('uses its own pooling and limit, counts what it cut and padded', async () => {
    await using encoder = await open({
      model: await variant({ '1_Pooling/config.json': { pooling_mode_cls_token: true } }),
    })
    expect(encoder.identity).toMatchObject({
      pooling: 'cls',
      maxTokens: expected.maxTokens,
      normalise: true,
      prefix: '',
      dtype: 'fp32',
    })
    const vectors = await encoder.embed(texts)
    expected.vectors.cls.forEach((vector, i) => {
      expect(largestDifference(row(vectors, i, 32), normalised(vector))).toBeLessThan(1e-5)
    })
    const tokens = expected.ids.reduce((sum, ids) => sum + ids.length, 0)
    expect(encoder.counts).toMatchObject({ texts: texts.length, cut: 3, tokens })
    expect(encoder.counts.padded).toBeGreaterThanOrEqual(tokens)
    expect(encoder.counts.padded).toBeLessThan(1.5 * tokens)
  })

  it('cuts at the tokens asked for and puts the prefix before each text', async () => {
    await using short = await open({ maxTokens: 8, prefix: 'one ' })
    await using plain = await open()
    // [CLS], six words, [SEP].
    const found = await short.embed(['the water is long and the day'])
    expect(largestDifference(found, await plain.embed(['one the water is long and']))).toBeLessThan(1e-6)
    expect(short.counts).toMatchObject({ cut: 1, tokens: 8 })
    expect(short.identity).toMatchObject({ prefix: 'one ', maxTokens: 8 })
  })

  it('has another identity where a file or an option that vectors depend on is another', async () => {
    const identityOf = async (options: Partial<EncoderOptions>) => {
      await using encoder = await open(options)
      return JSON.stringify(encoder.identity)
    }
    const config = { model_type: 'bert', max_position_embeddings: 48, remark: 'changed' }
    const identities = await Promise.all([
      identityOf({}),
      identityOf({ pooling: 'cls' }),
      identityOf({ normalise: false }),
      identityOf({ maxTokens: 20 }),
      identityOf({ prefix: 'a ' }),
      identityOf({ model: await variant({ 'config.json': config }) }),
      identityOf({ model: await variant({ 'onnx/model.onnx': tableGraph(['last_hidden_state']) }) }),
    ])
    expect(new Set(identities).size).toBe(identities.length)
    expect(await identityOf({ model: await variant(), threads: 2, tokensPerBatch: 50 })).toBe(identities[0])
    expect(await identityOf({ pooling: 'mean' })).toBe(identities[0])
  })

  it.each([
    ['last_hidden_state'],
    ['token_embeddings'],
    ['some_name_of_its_own'],
  ])('is read from the output %s, int32 inputs too', async (name) => {
    const model = await variant({ 'onnx/model.onnx': tableGraph(['logits', name]) })
    await using encoder = await open({ model, normalise: false })
    expect(encoder.dimensions).toBe(TABLE_WIDTH)
    // [CLS] is 2, [SEP] 3.
    const mean = (2 + expected.ids[3][1] + 3) / 3
    expect(largestDifference(await encoder.embed(['a']), [mean, 1, -mean / 2])).toBeLessThan(1e-5)
  })

  it('that pools in its graph gives those vectors, unless pooling is asked for', async () => {
    const model = await variant({ 'onnx/model.onnx': pooledGraph() })
    await using own = await open({ model, normalise: false })
    expect(own.identity.pooling).toBe('sentence_embedding')
    expect([...(await own.embed(['a', 'the water is long']))]).toEqual([7, 7, 7, 7, 7, 7])
    await using asked = await open({ model, normalise: false, pooling: 'mean' })
    const mean = (2 + expected.ids[3][1] + 3) / 3
    expect(largestDifference(await asked.embed(['a']), [mean, 1, -mean / 2])).toBeLessThan(1e-5)
  })

  it('may be a decoder, with positions and an empty cache among its inputs', async () => {
    const model = await variant({ 'onnx/model.onnx': decoderGraph() })
    await using encoder = await open({ model, normalise: false, pooling: 'last' })
    const vectors = await encoder.embed(['a', 'the water is long'])
    // [SEP] is 3, and stands at 2 and at 5.
    expect([...vectors]).toEqual([3 + 2, 2, -2.5, 3 + 5, 2, -4])
  })

  it('may give half precision', async () => {
    const model = await variant({ 'onnx/model_fp16.onnx': await readFile(HALF) })
    await using encoder = await open({ model, dtype: 'fp16', normalise: false, pooling: 'cls' })
    expect([...(await encoder.embed(['a', 'b']))]).toEqual([2, 1, -1, 2, 1, -1])
    expect(encoder.identity.dtype).toBe('fp16')
  })

  it('may have its graph beside its other files', async () => {
    const model = await variant({ onnx: undefined, 'model.onnx': tableGraph(['last_hidden_state']) })
    await using encoder = await open({ model })
    expect(encoder.dimensions).toBe(TABLE_WIDTH)
  })

  it('tells texts done, stops between batches, and is closed once', async () => {
    const encoder = await open({ tokensPerBatch: 24 })
    const done: number[] = []
    await encoder.embed(texts, { onProgress: (count) => done.push(count) })
    expect(done.length).toBeGreaterThan(3)
    expect(done.at(-1)).toBe(texts.length)
    const stop = new AbortController()
    const embedding = encoder.embed(texts, { signal: stop.signal, onProgress: () => stop.abort('enough') })
    await expect(embedding).rejects.toBe('enough')
    await encoder[Symbol.asyncDispose]()
    await encoder[Symbol.asyncDispose]()
    await expect(encoder.embed(texts)).rejects.toThrow(/closed/)
  })
})

describe('what is no encoder', () => {
  it.each([
    ['a directory that is not there', async () => '/nowhere/at/all', 'missing-model', /onnx\/model\.onnx/],
    ['no graph', () => variant({ onnx: undefined }), 'no-onnx', /optimum-cli export onnx/],
    ['no tokenizer.json', () => variant({ 'tokenizer.json': undefined }), 'missing-tokenizer', /save_pretrained/],
    ['a broken tokenizer.json', () => variant({ 'tokenizer.json': {} }), 'bad-tokenizer', /tokenizer\.json/],
    ['no config.json', () => variant({ 'config.json': undefined }), 'incomplete-model', /config\.json/],
    ['modules.json that is no list', () => variant({ 'modules.json': {} }), 'bad-json', /modules/],
    ['a graph that is none', () => variant({ 'onnx/model.onnx': 'not a graph' }), 'bad-onnx', /cannot load/],
    [
      'a Git LFS pointer',
      () => variant({ 'onnx/model.onnx': 'version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n' }),
      'lfs-pointer',
      /git lfs pull/,
    ],
    ['a language model', () => variant({ 'onnx/model.onnx': tableGraph(['logits']) }), 'not-an-encoder', /logits/],
    [
      'other inputs',
      () => variant({ 'onnx/model.onnx': tableGraph(['last_hidden_state'], { inputName: 'pixel_values' }) }),
      'unknown-input',
      /pixel_values/,
    ],
    [
      'another shape',
      () => variant({ 'onnx/model.onnx': tableGraph(['last_hidden_state'], { flat: true }) }),
      'bad-encoder-output',
      /\[4, 3\]/,
    ],
    ['a layer after pooling', () => variant({ 'modules.json': DENSE }), 'unsupported-module', /Dense/],
    [
      'two poolings',
      () => variant({ '1_Pooling/config.json': TWO }),
      'unsupported-pooling',
      /cls_token and mean_tokens/,
    ],
  ])('is told by its name: %s', async (_, model, code, message) => {
    const error = await failure(open({ model: await model() }))
    expect(error.fault.code).toBe(code)
    expect(error.message).toMatch(message)
  })

  it('is what gives numbers that are not finite', async () => {
    const model = await variant({ 'onnx/model.onnx': tableGraph(['last_hidden_state'], { unknown: Number.NaN }) })
    await using encoder = await open({ model })
    await encoder.embed(['oil'])
    const error = await failure(encoder.embed(['oil', '水']))
    expect(error.fault).toMatchObject({ code: 'bad-embedding', found: expect.stringContaining('水') })
  })

  it('names the dtypes that there are', async () => {
    const error = await failure(open({ dtype: 'q8' }))
    expect(error.fault).toMatchObject({ code: 'no-onnx', hint: expect.stringContaining('fp32') })
    const half = await variant({ onnx: undefined, 'onnx/model_fp16.onnx': 'x' })
    expect((await failure(open({ model: half }))).fault).toMatchObject({ hint: expect.stringContaining('fp16') })
  })

  it.each([
    [{ maxTokens: 3 }, 'maxTokens'],
    [{ maxTokens: 49 }, 'maxTokens'],
    [{ threads: 0 }, 'threads'],
    [{ tokensPerBatch: 1.5 }, 'tokensPerBatch'],
    [{ dtype: 'fp8' as never }, 'dtype'],
  ])('is an option that is none: %o', async (options, path) => {
    expect((await failure(open(options))).fault).toMatchObject({ code: 'bad-option', path })
  })
})

const DENSE = [
  { path: '', type: 'sentence_transformers.models.Transformer' },
  { path: '1_Pooling', type: 'sentence_transformers.models.Pooling' },
  { path: '2_Dense', type: 'sentence_transformers.models.Dense' },
]
const TWO = { pooling_mode_cls_token: true, pooling_mode_mean_tokens: true, pooling_mode_max_tokens: false }

it('transformers is not loaded before an encoder is opened', async () => {
  const probe = `import { registerHooks } from 'node:module'
    registerHooks({ load(url, context, next) { if (/huggingface.transformers|onnxruntime-node/.test(url)) console.log(url); return next(url, context) } })
    await import('${new URL('../../src/embedding/encoder.ts', import.meta.url)}')
    console.log('imported')`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', probe])
  expect(stdout).toBe('imported\n')
})
