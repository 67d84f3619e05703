import { homedir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { checkEndpoint, environmentCache, environmentOffline } from '../../src/hub/environment.ts'
import { expandPath, parseReference } from '../../src/hub/reference.ts'
import { failure } from './scratch.ts'

afterEach(() => vi.unstubAllEnvs())

describe('a model name', () => {
  it.each([
    ['EleutherAI/pythia-70m-deduped', { id: 'EleutherAI/pythia-70m-deduped' }],
    ['gpt2', { id: 'gpt2' }],
    ['Qwen/Qwen2.5-0.5B@v1.0', { id: 'Qwen/Qwen2.5-0.5B', revision: 'v1.0' }],
    ['EleutherAI/pythia-70m@step3000', { id: 'EleutherAI/pythia-70m', revision: 'step3000' }],
    ['gpt2@refs/pr/5', { id: 'gpt2', revision: 'refs/pr/5' }],
    [`a/b@${'0a'.repeat(20)}`, { id: 'a/b', revision: '0a'.repeat(20) }],
  ])('%s is one of the hub', (text, expected) => {
    expect(parseReference(text)).toEqual({ kind: 'hub', revision: undefined, ...expected })
  })

  it.each([
    './gpt2',
    '../runs/x',
    '/models/x',
    '.',
    '..',
    'C:\\models\\x',
    'D:/models/x',
    'models\\x',
  ])('%s is a directory', (text) => {
    expect(parseReference(text)).toEqual({ kind: 'directory', path: text })
  })

  it('with a tilde is a directory at home', () => {
    expect(parseReference('~/models/x')).toEqual({ kind: 'directory', path: `${homedir()}/models/x` })
    expect(expandPath('~')).toBe(homedir())
  })
})

describe('the environment', () => {
  it('places the cache as the Python client does', () => {
    for (const name of ['HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'HF_HOME', 'XDG_CACHE_HOME'])
      vi.stubEnv(name, undefined)
    const places = [environmentCache()]
    const steps = [
      ['XDG_CACHE_HOME', '/x'],
      ['HF_HOME', '~/hf'],
      ['HUGGINGFACE_HUB_CACHE', '/old'],
      ['HF_HUB_CACHE', `$XDG_CACHE_HOME/\${XDG_CACHE_HOME}/$NO_SUCH_NAME`],
    ]
    for (const [name, value] of steps) {
      vi.stubEnv(name, value)
      places.push(environmentCache())
    }
    expect(places).toEqual([
      join(homedir(), '.cache/huggingface/hub'),
      '/x/huggingface/hub',
      join(homedir(), 'hf/hub'),
      '/old',
      '/x//x/$NO_SUCH_NAME',
    ])
  })

  it('is offline where either variable says so', () => {
    for (const value of ['1', 'on', 'YES', 'true']) {
      vi.stubEnv('HF_HUB_OFFLINE', value)
      expect(environmentOffline()).toBe(true)
    }
    vi.stubEnv('HF_HUB_OFFLINE', '0')
    vi.stubEnv('TRANSFORMERS_OFFLINE', undefined)
    expect(environmentOffline()).toBe(false)
    vi.stubEnv('TRANSFORMERS_OFFLINE', '1')
    expect(environmentOffline()).toBe(true)
  })

  it('has the hub itself as its endpoint unless another is named', () => {
    vi.stubEnv('HF_ENDPOINT', undefined)
    expect(checkEndpoint()).toBe('https://huggingface.co')
    vi.stubEnv('HF_ENDPOINT', 'https://mirror.example/hub//')
    expect(checkEndpoint()).toBe('https://mirror.example/hub')
  })

  it('takes no endpoint with a password, which it does not repeat, nor one that paths cannot follow', async () => {
    const refusal = (endpoint: string) =>
      failure((async () => checkEndpoint(endpoint))()).then(({ message }) => message)
    const shown = await refusal('https://user:opensesame@mirror.example/hub')
    expect(shown).toMatch(/mirror\.example holds a user name or password.*HF_TOKEN/)
    expect(shown).not.toContain('opensesame')
    for (const end of ['?mirror=1', '#hub']) expect(await refusal(`https://mirror.example/${end}`)).toMatch(/is none/)
  })
})
