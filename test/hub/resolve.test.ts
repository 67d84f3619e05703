import { cp, lstat, mkdir, readdir, readFile, readlink, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { resolveModel, resolveModelTexts } from '../../src/hub/resolve.ts'
import { COMMIT, ID, modelFiles, OLDER, shardedFiles, situation } from './hub-model.ts'
import { failure, put, SAVED, scratch } from './scratch.ts'
import { etagOf, startHub } from './server.ts'

afterEach(() => vi.unstubAllEnvs())

const fetched = (requests: { path: string }[]) =>
  requests.flatMap(({ path }) => /\/resolve\/[0-9a-f]{40}\/(.+)$/.exec(path)?.[1] ?? []).sort()

describe('a model of the hub', () => {
  it('is fetched at its commit, only what it is read from, and opened', async () => {
    const { hub, options } = await situation()
    await using model = await resolveModel(ID, options)
    expect(model.source).toEqual({ kind: 'hub', id: ID, revision: COMMIT })
    expect(model.notices).toEqual([])
    expect(model.config.model_type).toBe('llama')
    expect(model.chatTemplates).toEqual({ default: '{{ messages }}', tool_use: '{{ tools }}' })
    expect((await model.weights.read('model.norm.weight')).length).toBe(model.config.hidden_size)
    expect(fetched(hub.requests)).toEqual([
      'additional_chat_templates/tool_use.jinja',
      'chat_template.jinja',
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ])
  })

  it('lies in the cache as the Python client lays it out', async () => {
    const { options, folder } = await situation()
    await (await resolveModel(ID, options)).weights.close()
    expect((await readdir(folder)).sort()).toEqual(['.no_exist', 'blobs', 'refs', 'snapshots'])
    expect(await readFile(join(folder, 'refs', 'main'), 'utf8')).toBe(COMMIT)
    const files = await modelFiles()
    for (const path of ['config.json', 'model.safetensors', 'additional_chat_templates/tool_use.jinja']) {
      const up = path.includes('/') ? '../../..' : '../..'
      const etag = etagOf(path, files[path])
      expect(await readlink(join(folder, 'snapshots', COMMIT, path))).toBe(`${up}/blobs/${etag}`)
      expect(await readFile(join(folder, 'blobs', etag))).toEqual(Buffer.from(files[path]))
    }
    expect((await readdir(join(folder, 'blobs'))).length).toBe(7)
    expect(await readdir(join(folder, '.no_exist', COMMIT))).toEqual(['chat_template.json', 'special_tokens_map.json'])
  })

  it('in shards is fetched by its index', async () => {
    const { hub, options } = await situation(await shardedFiles())
    await using model = await resolveModel(`${ID}@v1.0`, options)
    expect([...model.weights.names().keys()]).toEqual(['a', 'bb', 'ccc', 'dddd'])
    expect([...(await model.weights.read('dddd'))]).toEqual([1, 2, 4])
    expect(fetched(hub.requests)).toContain('model-00002-of-00002.safetensors')
  })

  it('costs one request the second time, and none by its commit', async () => {
    const { hub, options } = await situation()
    await (await resolveModel(ID, options)).weights.close()
    hub.requests.length = 0
    await (await resolveModel(ID, options)).weights.close()
    expect(hub.requests.map(({ path }) => path.split('?')[0])).toEqual([`/api/models/${ID}/revision/main`])
    hub.requests.length = 0
    await (await resolveModel(`${ID}@${COMMIT}`, options)).weights.close()
    expect(hub.requests).toEqual([])
  })

  it('shares unchanged files between commits', async () => {
    const files = await modelFiles()
    const older = { ...files, 'config.json': Buffer.from('{"model_type":"llama","old":true}') }
    const { hub, options } = await situation(files, {
      refs: { main: COMMIT, old: OLDER },
      commits: { [COMMIT]: files, [OLDER]: older },
    })
    await (await resolveModel(ID, options)).weights.close()
    hub.requests.length = 0
    await using model = await resolveModel(ID, { ...options, revision: 'old' })
    expect(model.config.old).toBe(true)
    expect(model.source.revision).toBe(OLDER)
    expect(fetched(hub.requests)).toEqual(['config.json'])
  })

  it('is found by the variables of the Python client, and its token file read', async () => {
    const { hub, options } = await situation(undefined, { privateTo: 'hf_fromfile' })
    const home = await scratch()
    for (const name of ['HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN', 'HF_TOKEN_PATH'])
      vi.stubEnv(name, undefined)
    vi.stubEnv('HF_ENDPOINT', `${hub.endpoint}/`)
    vi.stubEnv('WINNOW_TEST_HOME', home)
    vi.stubEnv('HF_HOME', '$WINNOW_TEST_HOME')
    await put(home, { token: 'hf_fromfile\n' })
    await using model = await resolveModel(ID, { sleep: options.sleep })
    expect(model.directory).toBe(join(home, 'hub', 'models--tiny-org--tiny-llama', 'snapshots', COMMIT))
    vi.stubEnv('HF_HUB_DISABLE_IMPLICIT_TOKEN', '1')
    const { cacheDir } = options
    expect((await failure(resolveModel(ID, { cacheDir }))).fault.code).toBe('model-not-found')
  })

  it('is copied into the snapshot where links are not to be had', async () => {
    const { options, folder } = await situation()
    vi.stubEnv('HF_HUB_DISABLE_SYMLINKS', '1')
    await using model = await resolveModel(ID, options)
    const place = join(folder, 'snapshots', COMMIT, 'model.safetensors')
    expect((await lstat(place)).isSymbolicLink()).toBe(false)
    expect((await readFile(place)).length).toBe(model.weights.files[0].bytes)
  })

  it('is mended where the cache holds a file of another size', async () => {
    const { hub, options, folder } = await situation()
    await (await resolveModel(ID, options)).weights.close()
    const files = await modelFiles()
    await truncate(join(folder, 'blobs', etagOf('model.safetensors', files['model.safetensors'])), 100)
    await rm(join(folder, '.no_exist'), { recursive: true })
    hub.requests.length = 0
    await using model = await resolveModel(ID, options)
    expect(model.weights.files[0].bytes).toBe(files['model.safetensors'].length)
    expect(fetched(hub.requests)).toEqual(['model.safetensors'])
  })

  it('tells how far each file is', async () => {
    const { options } = await situation()
    const last = new Map<string, string>()
    const onProgress = (progress: { file: string; bytes: number; total: number }) =>
      void last.set(progress.file, `${progress.bytes} of ${progress.total}`)
    await (await resolveModel(ID, { ...options, onProgress })).weights.close()
    expect(last.get('model.safetensors')).toBe('25952 of 25952')
    expect(last.size).toBe(7)
  })
})

describe('a cache that the Python client filled', () => {
  /** Blobs and links as huggingface_hub leaves them, with the listing that recent ones leave or without. */
  async function pythonCache(folder: string, files: Record<string, Uint8Array>, listing: boolean) {
    const tree: Record<string, object> = {}
    const snapshot = join(folder, 'snapshots', COMMIT)
    await mkdir(snapshot, { recursive: true })
    for (const [path, bytes] of Object.entries(files)) {
      const etag = etagOf(path, bytes)
      await put(folder, { [`blobs/${etag}`]: bytes })
      await symlink(`../../blobs/${etag}`, join(snapshot, path))
      const lfs = etag.length === 64 ? { lfs_sha256: etag, lfs_size: bytes.length } : {}
      tree[path] = { size: bytes.length, blob_id: 'd'.repeat(40), ...(etag.length === 40 ? { blob_id: etag } : lfs) }
    }
    await put(folder, { 'refs/main': COMMIT })
    if (listing) await put(folder, { [`trees/${COMMIT}.json`]: { format_version: 1, files: tree } })
  }
  const used = async () => {
    const { 'config.json': config, 'model.safetensors': weights, 'tokenizer.json': tokenizer } = await modelFiles()
    return { 'config.json': config, 'model.safetensors': weights, 'tokenizer.json': tokenizer }
  }

  it('is used without a request for what it has', async () => {
    const { hub, options, folder } = await situation()
    await pythonCache(folder, await used(), false)
    await using model = await resolveModel(ID, options)
    expect(model.generationConfig).toEqual({ eos_token_id: 2 })
    expect(fetched(hub.requests)).not.toContain('model.safetensors')
    expect(fetched(hub.requests)).not.toContain('tokenizer.json')
  })

  it('answers for a commit by itself where its listing says that nothing is lacking', async () => {
    const { hub, options, folder } = await situation(await used())
    await pythonCache(folder, await used(), true)
    await using model = await resolveModel(ID, { ...options, revision: COMMIT })
    expect(model.tokenizerJson).toContain('BPE')
    expect(hub.requests).toEqual([])
  })

  it('serves offline, and names what is missing in it', async () => {
    const { hub, options, folder } = await situation()
    const files = await used()
    await pythonCache(folder, files, true)
    vi.stubEnv('HF_HUB_OFFLINE', 'TRUE')
    const offline = { ...options, offline: undefined }
    await using model = await resolveModel(ID, offline)
    expect(model.source.revision).toBe(COMMIT)
    await rm(join(folder, 'snapshots', COMMIT, 'tokenizer.json'))
    const error = await failure(resolveModel(ID, offline))
    expect(error.fault.code).toBe('offline')
    expect(error.message).toMatch(/tokenizer\.json missing.*hf download tiny-org\/tiny-llama/)
    expect((await failure(resolveModel(`${ID}@v1.0`, offline))).message).toMatch(/'v1\.0' is not in the cache/)
    expect(hub.requests).toEqual([])
  })

  it('names the missing shard offline', async () => {
    const files = await shardedFiles()
    const { options, folder } = await situation(files)
    await (await resolveModel(ID, options)).weights.close()
    await rm(join(folder, 'snapshots', COMMIT, 'model-00002-of-00002.safetensors'))
    expect((await failure(resolveModel(ID, { ...options, offline: true }))).message).toMatch(
      /model-00002-of-00002\.safetensors missing/,
    )
  })
})

describe('the small files of a model', () => {
  it('are fetched without its weights, which are fetched later and alone', async () => {
    const { hub, options } = await situation()
    const texts = await resolveModelTexts(ID, options)
    expect(texts).toMatchObject({ source: { id: ID, revision: COMMIT }, generationConfig: { eos_token_id: 2 } })
    expect(texts.tokenizerJson).toContain('BPE')
    expect(fetched(hub.requests)).not.toContain('model.safetensors')
    expect((await resolveModelTexts(ID, { ...options, offline: true })).tokenizerJson).toContain('BPE')
    expect((await failure(resolveModel(ID, { ...options, offline: true }))).message).toMatch(
      /model\.safetensors missing/,
    )
    hub.requests.length = 0
    await using model = await resolveModel(ID, options)
    expect(model.weights.names().size).toBe(20)
    expect(fetched(hub.requests)).toEqual(['model.safetensors'])
  })

  it('need no weights and no config to be there', async () => {
    const { 'tokenizer.json': tokenizer } = await modelFiles()
    const { options } = await situation({ 'tokenizer.json': tokenizer })
    expect(await resolveModelTexts(ID, options)).toMatchObject({ config: undefined, chatTemplates: {} })
    const directory = await scratch()
    await put(directory, { 'tokenizer.json': '{}' })
    expect((await resolveModelTexts(directory)).tokenizerJson).toBe('{}')
  })
})

describe('without a network', () => {
  it('the cached commit is used at once, and said so', async () => {
    const { hub, options, waits } = await situation()
    await (await resolveModel(ID, options)).weights.close()
    hub.intercept = (_, response) => Boolean(response.destroy())
    await using model = await resolveModel(ID, options)
    expect(model.source.revision).toBe(COMMIT)
    expect(model.notices).toEqual([
      expect.stringMatching(/could not be asked.*cached commit c0ffeec0ffee of 'main' is used/),
    ])
    expect(waits).toEqual([])
  })

  it('a model that is not there is an error after a few attempts', async () => {
    const { hub, options, waits } = await situation()
    hub.intercept = (_, response) => Boolean(response.destroy())
    const error = await failure(resolveModel(ID, options))
    expect(error.fault).toMatchObject({ code: 'hub-unreachable', file: ID })
    expect(error.exitCode).toBe(1)
    expect(waits).toEqual([1000, 2000, 4000])
  })

  it('an older commit is no substitute for a newer one that broke off', async () => {
    const { hub, options, folder } = await situation()
    await (await resolveModel(ID, options)).weights.close()
    await put(folder, { 'refs/main': OLDER })
    await cp(join(folder, 'snapshots', COMMIT), join(folder, 'snapshots', OLDER), {
      recursive: true,
      verbatimSymlinks: true,
    })
    await rm(join(folder, 'snapshots', COMMIT), { recursive: true })
    hub.intercept = ({ path }, response) => path.includes('/tree/') && Boolean(response.destroy())
    expect((await failure(resolveModel(ID, options))).fault.code).toBe('hub-unreachable')
  })
})

describe('a name', () => {
  it('of a directory that exists is that directory, whatever it looks like', async () => {
    await using model = await resolveModel(SAVED, { offline: true })
    expect(model.source).toEqual({ kind: 'directory', id: SAVED })
  })

  it.each([
    ['./no-such-model', 'missing-model'],
    ['../no/such', 'missing-model'],
    ['~/no-such-model', 'missing-model'],
    ['C:\\no\\such', 'missing-model'],
    ['a/b/c', 'bad-model-name'],
    ['owner--name/x', 'bad-model-name'],
    ['owner/na me', 'bad-model-name'],
    ['owner/name@../main', 'bad-model-name'],
    ['', 'bad-model-name'],
  ])('%s is refused', async (name, code) => {
    expect((await failure(resolveModel(name, { offline: true, cacheDir: await scratch() }))).fault.code).toBe(code)
  })

  it('that is an address is answered with the name to write', async () => {
    const error = await failure(resolveModel('https://huggingface.co/EleutherAI/pythia-70m/tree/main'))
    expect(error.fault.hint).toBe('Write EleutherAI/pythia-70m.')
  })

  it('with two revisions is a usage error, and so is an address that is none', async () => {
    expect((await failure(resolveModel('o/n@v1', { revision: 'v2' }))).kind).toBe('usage')
    expect((await failure(resolveModel(SAVED, { revision: 'v2' }))).fault.code).toBe('directory-revision')
    expect((await failure(resolveModel('o/n', { revision: '../x' }))).fault.code).toBe('bad-revision')
    expect((await failure(resolveModel('o/n', { endpoint: 'hub.example' }))).fault.code).toBe('bad-endpoint')
  })

  it('without an owner is one of the oldest models of the hub, pull requests are revisions', async () => {
    const hubFiles = await modelFiles()
    await using hub = await startHub({ gpt2: { refs: { 'refs/pr/3': COMMIT }, commits: { [COMMIT]: hubFiles } } })
    const cacheDir = await scratch()
    await using model = await resolveModel('gpt2@refs/pr/3', { endpoint: hub.endpoint, cacheDir, token: false })
    expect(model.source).toEqual({ kind: 'hub', id: 'gpt2', revision: COMMIT })
    expect(await readFile(join(cacheDir, 'models--gpt2', 'refs', 'refs', 'pr', '3'), 'utf8')).toBe(COMMIT)
  })
})

describe('a repository', () => {
  it.each([
    ['with pickled weights only', ['model.safetensors'], 'pickled-weights', /pytorch_model\.bin/],
    [
      'without weights',
      ['model.safetensors', 'pytorch_model.bin'],
      'no-safetensors',
      /tiny-org\/tiny-llama: there are no weights/,
    ],
    ['without config.json', ['config.json'], 'incomplete-model', /no config\.json/],
  ])('%s is refused before anything is fetched', async (_, without, code, message) => {
    const files = await modelFiles()
    for (const name of without) delete files[name]
    const { hub, options } = await situation(files)
    const error = await failure(resolveModel(ID, options))
    expect(error.fault.code).toBe(code)
    expect(error.message).toMatch(message)
    expect(fetched(hub.requests)).toEqual([])
  })

  it('that lacks a shard of its index is refused by the shard', async () => {
    const files = await shardedFiles()
    delete files['model-00002-of-00002.safetensors']
    const { options } = await situation(files)
    const error = await failure(resolveModel(ID, options))
    expect(error.fault.code).toBe('missing-shard')
    expect(error.message).toMatch(/no model-00002-of-00002\.safetensors/)
  })

  it('whose cache cannot be written is an error of the place', async () => {
    const { options } = await situation()
    const file = join(options.cacheDir, 'a-file')
    await writeFile(file, '')
    expect((await failure(resolveModel(ID, { ...options, cacheDir: file }))).fault.code).toBe('unwritable-output')
  })
})
