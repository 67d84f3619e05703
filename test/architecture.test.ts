import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const src = fileURLToPath(new URL('../src', import.meta.url))
const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .sort()

/** What a file imports; `types` are imports that leave no trace at run time. */
function imports(file: string): { name: string; types: boolean }[] {
  const text = readFileSync(join(src, file), 'utf8')
  const found = [...text.matchAll(/(import|export)\s+(type\s+)?([^'"]*?\sfrom\s+)?['"]([^'"]+)['"]/g)]
  return found.map(([, , type, , name]) => ({
    name: name.startsWith('.') ? relative(src, join(src, dirname(file), name)) : name,
    types: type !== undefined,
  }))
}

const roomOf = (file: string) => (file.includes('/') ? file.split('/')[0] : '')

/** Rooms that run in a browser as well: bytes, typed arrays and callbacks only. */
const core = [
  ...[
    'engine',
    'models',
    'training',
    'generation',
    'clustering',
    'similarity',
    'transport',
    'submodular',
    'importance',
  ],
  ...['methods', 'signals', 'random', 'webassembly', 'analysis'],
]

/** Each room and the rooms it may use at run time. */
const arrows: Record<string, string[]> = {
  random: [],
  webassembly: [],
  engine: ['random'],
  models: ['engine', 'random'],
  clustering: ['random', 'similarity', 'webassembly'],
  similarity: ['random', 'webassembly'],
  transport: ['random', 'similarity', 'webassembly'],
  submodular: ['random', 'similarity', 'webassembly'],
  importance: ['webassembly'],
  training: ['models', 'engine', 'random', 'tokenizer', 'webassembly'],
  generation: ['training', 'models', 'engine', 'tokenizer', 'random'],
  embedding: ['importance', 'training', 'models', 'engine', 'hub', 'tokenizer', 'random'],
  sandbox: [],
  evaluation: ['training', 'tokenizer', 'random', 'dataset'],
  signals: ['random'],
  methods: ['signals', 'random', 'clustering', 'transport'],
  analysis: ['random', 'transport'],
  parallel: [],
  runs: [],
  dataset: ['runs'],
  hub: ['models', 'runs'],
  tokenizer: ['dataset'],
  report: ['random', 'methods', 'signals', 'analysis'],
  pipeline: [
    'dataset',
    'hub',
    'tokenizer',
    'runs',
    'signals',
    'methods',
    'training',
    'models',
    'engine',
    'clustering',
    'similarity',
    'transport',
    'submodular',
    'importance',
    'embedding',
    'generation',
    'parallel',
    'evaluation',
    'report',
    'random',
    'analysis',
  ],
  answers: [
    'dataset',
    'evaluation',
    'generation',
    'sandbox',
    'embedding',
    'tokenizer',
    'training',
    'models',
    'pipeline',
    'runs',
    'signals',
  ],
  comparison: [
    'answers',
    'dataset',
    'evaluation',
    'generation',
    'methods',
    'models',
    'pipeline',
    'report',
    'runs',
    'signals',
    'training',
  ],
  cli: ['answers', 'comparison', 'evaluation', 'pipeline', 'methods', 'engine', 'runs', 'report', 'dataset'],
}

describe('the house', () => {
  it.each(core)('%s imports nothing of Node', (room) => {
    for (const file of files.filter((name) => roomOf(name) === room)) {
      for (const { name, types } of imports(file)) {
        if (types) continue
        expect(name.startsWith('node:') || name === 'onnxruntime-node', `${file} imports ${name}`).toBe(false)
      }
    }
  })

  it.each(files)('%s imports only from rooms below its own', (file) => {
    const room = roomOf(file)
    if (room === '') return
    expect(Object.keys(arrows)).toContain(room)
    for (const { name, types } of imports(file)) {
      if (types || !name.includes('/') || !files.includes(name)) continue
      const target = roomOf(name)
      if (target === room) continue
      expect(arrows[room], `${file} imports ${name}`).toContain(target)
    }
  })

  it.each(files)('%s stays within 350 lines', (file) => {
    expect(readFileSync(join(src, file), 'utf8').split('\n').length).toBeLessThanOrEqual(351)
  })
})
