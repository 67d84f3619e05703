/** Models that cannot be used, through the real command line: what is said, with which exit code, and that nothing is left behind. */

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Fault } from '../../src/errors.ts'
import { readSafetensors, writeSafetensors } from '../../src/models/safetensors.ts'
import { CHAT_TEMPLATE, tinyModel } from '../pipeline/models.ts'
import { emptyDirectory, fixture, winnow } from './command.ts'

const pool = readFileSync(fixture('math.jsonl'), 'utf8').split('\n').slice(0, 5).join('\n')

/** Changes a whole model for the worse. */
type Damage = (model: string) => void

const rewrite =
  (file: string, change: (content: Buffer) => string | Uint8Array): Damage =>
  (model) =>
    writeFileSync(join(model, file), change(readFileSync(join(model, file))))
const config = (members: Record<string, unknown>): Damage =>
  rewrite('config.json', (content) => JSON.stringify({ ...JSON.parse(content.toString()), ...members }))
type Tensors = ReturnType<typeof readSafetensors>['tensors']
const tensors = (change: (tensors: Tensors) => void): Damage =>
  rewrite('model.safetensors', (content) => {
    const { tensors: found } = readSafetensors(content)
    change(found)
    return writeSafetensors(found)
  })
const onlyFile =
  (name: string): Damage =>
  (model) => {
    rmSync(join(model, 'model.safetensors'))
    writeFileSync(join(model, name), 'x')
  }
const none: Damage = () => {}

const score = ['score', 'p.jsonl', '--proxy', 'model', '--device', 'cpu']
const select = ['select', 'p.jsonl', '-b', '2', '--proxy', 'model', '--device', 'cpu']
const train = ['train', 'p.jsonl', '--model', 'model', '--device', 'cpu']
const Q_PROJ = 'model.layers.1.self_attn.q_proj.weight'
const file = join('model', 'model.safetensors')

type Expected = Partial<Record<keyof Fault, unknown>>
const cases: [name: string, damage: Damage, words: string[], fault: Expected, code?: 1 | 2][] = [
  [
    'torn weights',
    rewrite('model.safetensors', (content) => content.subarray(0, content.length - 100)),
    score,
    { code: 'bad-safetensors', file, hint: expect.stringContaining('100 bytes are missing') },
  ],
  [
    'weights whose header is no JSON',
    rewrite('model.safetensors', (content) => Buffer.concat([content.subarray(0, 20), Buffer.alloc(50), content])),
    select,
    { code: 'bad-safetensors', file, hint: expect.stringContaining('fetch or save it again') },
  ],
  [
    'a Git LFS pointer in place of the weights',
    rewrite(
      'model.safetensors',
      () => `version https://git-lfs.github.com/spec/v1\noid sha256:${'a'.repeat(64)}\nsize 9\n`,
    ),
    score,
    { file, hint: expect.stringContaining('git lfs pull') },
  ],
  [
    'a tensor that is not there',
    tensors((found) => found.delete(Q_PROJ)),
    train,
    { code: 'weights-mismatch', file: 'model', message: expect.stringContaining(`1 tensor missing: ${Q_PROJ}`) },
  ],
  [
    'a tensor of another shape',
    tensors((found) => found.set(Q_PROJ, { shape: [16, 32], data: new Float32Array(512) })),
    score,
    { code: 'weights-mismatch', found: `${Q_PROJ} [16, 32]`, expected: '[32, 32]', hint: expect.any(String) },
  ],
  [
    'NaN in a weight',
    tensors((found) => found.get(Q_PROJ)?.data.fill(Number.NaN, 77, 78)),
    score,
    { code: 'weights-not-finite', path: `${Q_PROJ}[77]`, found: 'NaN', hint: expect.stringContaining('diverged') },
  ],
  [
    'a tokenizer with more ids than the model has rows',
    (model) => tinyModel(model, { config: { vocab_size: 500 } }),
    score,
    { code: 'tokenizer-mismatch', path: 'vocab_size', found: '512 ids, 500 rows' },
  ],
  [
    'no tokenizer.json',
    (model) => rmSync(join(model, 'tokenizer.json')),
    select,
    { code: 'no-tokenizer', file: 'model', hint: expect.stringContaining('save it again') },
  ],
  [
    'a broken tokenizer.json',
    rewrite('tokenizer.json', (content) => content.subarray(0, 900)),
    train,
    { file: join('model', 'tokenizer.json') },
  ],
  [
    'weights in pickles alone',
    onlyFile('pytorch_model.bin'),
    score,
    { code: 'pickled-weights', found: 'pytorch_model.bin', hint: expect.stringContaining('safe_serialization') },
  ],
  ['weights in GGUF alone', onlyFile('model.gguf'), train, { code: 'no-safetensors', hint: expect.any(String) }],
  [
    'an architecture that winnow has not',
    config({ architectures: ['MambaForCausalLM'], model_type: 'mamba' }),
    score,
    { code: 'unsupported-model', found: expect.stringContaining('mamba'), expected: expect.stringContaining('llama') },
  ],
  [
    'an option that winnow has not',
    config({ rope_scaling: { rope_type: 'spiral', factor: 4 } }),
    select,
    {
      code: 'unsupported-model',
      found: expect.stringContaining('spiral'),
      expected: expect.stringContaining('yarn'),
    },
  ],
  [
    'quantised weights',
    config({ quantization_config: { quant_method: 'gptq', bits: 4 } }),
    score,
    { code: 'unsupported-model', path: 'quantization_config', hint: expect.any(String) },
  ],
  [
    'a config.json whose sizes are no numbers',
    config({ hidden_size: 'wide' }),
    score,
    { code: 'invalid-model-config', path: 'hidden_size' },
  ],
  [
    'a directory without a model',
    (model) => {
      rmSync(model, { recursive: true })
      mkdirSync(model)
    },
    train,
    { file: 'model', hint: expect.any(String) },
  ],
  [
    'more tokens than the model has positions',
    none,
    [...select, '--max-length', '200'],
    { code: 'context-too-long', path: '--max-length', found: '200', expected: 'at most 128' },
  ],
  ['a revision of a directory', none, [...score, '--revision', 'main'], { code: 'directory-revision', found: 'main' }],
  [
    'half precision on the cpu',
    none,
    [...train, '--precision', 'float16'],
    { code: 'bad-option', path: '--precision', found: 'float16', expected: expect.stringContaining('float32') },
  ],
  [
    'a learning rate that is none',
    none,
    [...train, '--learning-rate', '2'],
    { message: expect.stringContaining('between 0 and 1') },
  ],
  [
    'a recipe for nano, which has its own',
    none,
    ['select', 'p.jsonl', '-b', '2', '--epochs', '2', '--device', 'cpu'],
    { code: 'nano-recipe', path: '--epochs', hint: expect.any(String) },
  ],
  [
    'recorded losses and a proxy to train',
    none,
    [...select, '--signal', 'trajectories=nowhere'],
    { code: 'two-loss-sources', path: '--proxy', expected: 'one of them' },
  ],
  ['no model to score with', none, score.slice(0, 2), { code: 'no-model', path: '--proxy' }],
  ['nano to score with', none, ['score', 'p.jsonl', '--proxy', 'nano'], { code: 'no-model', path: '--proxy' }],
  ['no model to train', none, train.slice(0, 2), { code: 'no-model', path: '--model' }],
  [
    'no records to train on',
    none,
    ['train', '--model', 'model'],
    { code: 'no-pool', hint: expect.stringContaining('winnow train') },
  ],
  [
    'no records to score',
    none,
    ['score', '--proxy', 'model'],
    { code: 'no-pool', hint: expect.stringContaining('winnow score') },
  ],
  [
    'a model of the hub that is not in the cache, offline',
    none,
    ['score', 'p.jsonl', '--proxy', 'tiny-org/tiny', '--offline', '--device', 'cpu'],
    { code: 'offline', file: 'tiny-org/tiny', hint: expect.stringContaining('--offline') },
  ],
  [
    'a hub that is not there',
    none,
    ['train', 'p.jsonl', '--model', 'tiny-org/tiny', '--device', 'cpu'],
    { code: 'hub-unreachable', file: 'tiny-org/tiny', found: 'ECONNREFUSED', hint: expect.stringContaining('network') },
    1,
  ],
  [
    'an output that is the model',
    none,
    [...train, '--out', 'model', '--overwrite'],
    { code: 'output-is-input', file: 'model' },
  ],
  [
    'a chat template that is broken',
    (model) => writeFileSync(join(model, 'chat_template.jinja'), '{% for message in messages %}'),
    score,
    { code: 'bad-chat-template', file: expect.stringContaining('model') },
  ],
  [
    'a row that the chat template refuses',
    (model) => writeFileSync(join(model, 'chat_template.jinja'), CHAT_TEMPLATE.replace('unspeakable', '')),
    train,
    { code: 'chat-template', file: 'p.jsonl', line: 1, found: 'That is not to be said' },
  ],
]

/** Faults of single weights and rows: met when they are read, after the pool was. */
const MET_LATE = ['NaN in a weight', 'a row that the chat template refuses']

describe('says what is wrong with a model and what to do, and leaves everything as it was:', () => {
  for (const [name, damage, words, fault, exit = 2] of cases) {
    it.concurrent(name, async ({ expect, onTestFinished }) => {
      const cwd = emptyDirectory([], onTestFinished)
      writeFileSync(join(cwd, 'p.jsonl'), `${pool}\n`)
      const model = tinyModel(join(cwd, 'model'))
      damage(model)
      const before = readdirSync(cwd, { recursive: true }).sort()
      // Port 2 answers nobody.
      const env = { HF_ENDPOINT: 'http://127.0.0.1:2', HF_HOME: join(cwd, 'none'), HF_TOKEN: '', HF_HUB_OFFLINE: '' }
      const { code, stdout, stderr } = await winnow([...words, '--json'], { cwd, env })
      const { error } = JSON.parse(stdout) as { error: Fault }
      expect(error).toMatchObject(fault)
      expect(error.hint ?? error.expected).toBeTruthy()
      expect(stderr).toContain('error: ')
      expect(stderr).not.toMatch(/\n\s+at .*\.ts:\d+/)
      expect(code).toBe(exit)
      // What was finished before the fault was met is kept in the run directory, and is all that is left.
      const after = readdirSync(cwd, { recursive: true, encoding: 'utf8' }).filter(
        (path) => !/^p\.\w+\.winnow/.test(path),
      )
      expect(after.sort()).toEqual(before)
      expect(readdirSync(cwd).some((name) => name.endsWith('.winnow'))).toBe(MET_LATE.includes(name))
    })
  }
})

it('without an NVIDIA card --device cuda ends with 1 and says what works', async ({ skip }) => {
  const devices = readdirSync('/dev', { withFileTypes: true }).map(({ name }) => name)
  if (devices.some((name) => name.startsWith('nvidia'))) skip('there is one')
  const cwd = emptyDirectory()
  writeFileSync(join(cwd, 'p.jsonl'), `${pool}\n`)
  tinyModel(join(cwd, 'model'))
  const { code, stdout } = await winnow([...score, '--device', 'cuda', '--json'], { cwd })
  expect(JSON.parse(stdout).error).toMatchObject({
    code: 'device-unavailable',
    path: '--device',
    found: 'cuda',
    hint: expect.stringContaining('--device cpu'),
  })
  expect(code).toBe(1)
})
