import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { exportWarmup, warmup } from '../../src/pipeline/warmup.ts'
import { estimateWarmup } from '../../src/pipeline/warmup-estimate.ts'
import type { WarmupOptions } from '../../src/pipeline/warmup-options.ts'
import type { WarmupPlan, WarmupPlanStage } from '../../src/pipeline/warmup-plan.ts'
import { recipes } from '../../src/pipeline/warmup-recipes.ts'
import { CHAT_TEMPLATE, tinyModel } from './models.ts'
import { directory, writePool } from './pools.ts'

const PICK = Array.from({ length: 12 }, (_, i) => ({ question: `Where is ${i}?`, answer: `In box ${i}.` }))
const chat = (...contents: string[]) => ({
  messages: contents.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content })),
})

/** Plans of these rows for a model with this chat template. */
async function planned(task: object[], template: string | undefined, more: Partial<WarmupOptions> = {}) {
  const home = directory()
  const write = (name: string, rows: object[]) => {
    writePool(
      join(home, name),
      rows.map((row) => JSON.stringify(row)),
    )
    return [join(home, name)]
  }
  const options: WarmupOptions = {
    model: tinyModel(join(home, 'model'), { template }),
    ...{ out: join(home, 'out'), run: join(home, 'run'), threads: 1, seed: 7 },
    pick: { files: write('pick.jsonl', PICK) },
    task: { ...more.task, files: write('task.jsonl', task), epochs: 2 },
    ...{ lora: more.lora, batch: more.batch, onBadRow: more.onBadRow },
  }
  const result = await exportWarmup(options, { ort })
  const folder = join(home, 'out/plan')
  const text = (name: string) => readFileSync(join(folder, name), 'utf8')
  const lines = (name: string) =>
    text(name)
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
  return { home, options, result, folder, text, lines, plan: JSON.parse(text('plan.json')) as WarmupPlan }
}

describe('the plan of a warm-up', () => {
  it('says all that another trainer must know, and trains nothing', async () => {
    const { home, options, result, folder, plan, text } = await planned(
      Array(10).fill(chat('Hi', 'Hello')),
      CHAT_TEMPLATE,
    )
    expect(readdirSync(home).sort()).toEqual(['model', 'out', 'pick.jsonl', 'run', 'task.jsonl'])
    expect([readdirSync(join(home, 'out')), existsSync(join(home, 'run/checkpoints'))]).toEqual([['plan'], false])
    expect(result.plan.path).toBe(join(folder, 'plan.json'))
    expect(result.plan.files.toSorted()).toEqual(readdirSync(folder).sort())
    expect(plan).toMatchObject({
      format: 'winnow-warmup-plan',
      formatVersion: 1,
      model: { kind: 'directory', id: '../../model', family: 'llama', layout: 'template' },
      seed: 7,
      optimiser: { name: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, maximumNorm: 1 },
      schedule: 'cosine',
    })
    const sha256 = (name: string) => createHash('sha256').update(text(name)).digest('hex')
    const [first, second] = plan.stages
    expect(first).toMatchObject({
      ...{ name: 'warmup', from: 'model', loss: 'every token but the first', rows: 12, epochs: 1, rowsPerStep: 8 },
      ...{ learningRate: 2e-5, maximumLength: 128, trainedTokens: first.tokens - 12, steps: result.pick.steps },
      data: {
        file: 'pick.jsonl',
        form: 'text',
        rows: 12,
        sha256: sha256('pick.jsonl'),
        size: text('pick.jsonl').length,
      },
      sources: [{ path: options.pick.files[0], rows: 12, format: 'question-answer' }],
    })
    expect(second).toMatchObject({
      ...{ name: 'task', from: 'warmup', loss: 'tokens of responses', rows: 10, epochs: 2, steps: result.task.steps },
      data: { file: 'task.jsonl', form: 'messages', alternating: true, sha256: sha256('task.jsonl') },
    })
    // What was read is not read again by the run that trains.
    const { stages } = await warmup(options, { ort })
    expect(stages.slice(0, 4).map(({ cached }) => cached)).toEqual([true, true, true, true])
  })

  it('is counted and timed without writing anything', async () => {
    const { home, options, plan } = await planned(Array(10).fill(chat('Hi', 'Hello')), CHAT_TEMPLATE, { lora: 2 })
    const before = readdirSync(home).sort()
    const asked = { ...options, out: join(home, 'none'), run: join(home, 'none.run') }
    const estimate = await estimateWarmup(asked, { ort })
    expect(readdirSync(home).sort()).toEqual(before)
    const { parameters } = plan.model
    expect(estimate.model).toMatchObject({ parameters, trained: 2 * 2 * (64 + 48 + 48 + 64 + 96 + 96 + 96) })
    for (const [stage, { rows, tokens, epochs, steps }] of [
      [estimate.pick, plan.stages[0]],
      [estimate.task, plan.stages[1]],
    ] as const) {
      expect(stage).toMatchObject({ rows, epochs, steps, tokens: { count: tokens, exact: true } })
      // Forward and twice as much backward, but for what frozen weights save: 2 to 6 FLOPs a weight and token, and attention.
      expect(stage.flops / (epochs * tokens * parameters)).toBeGreaterThan(1)
      expect(stage.flops / (epochs * tokens * parameters)).toBeLessThan(20)
    }
    expect(estimate.flops).toBe(estimate.pick.flops + estimate.task.flops)
    await expect(estimateWarmup({ ...asked, task: options.pick }, { ort })).rejects.toMatchObject({
      fault: { code: 'task-is-pick' },
    })
  })

  it('writes the pick as texts and conversations as messages, with recipes for three trainers', async () => {
    const { lines, text, folder } = await planned(Array(10).fill(chat('Hi', 'Hello')), CHAT_TEMPLATE, { batch: 12 })
    expect(lines('pick.jsonl')[3]).toEqual({ text: 'Where is 3?\n\nIn box 3.' })
    expect(lines('task.jsonl')[0]).toEqual(chat('Hi', 'Hello'))
    const trainers = ['axolotl', 'llamafactory', 'trl']
    expect(readdirSync(folder).sort()).toEqual(
      [
        ...trainers.flatMap((name) => [`${name}-1-warmup.yaml`, `${name}-2-task.yaml`]),
        ...['dataset_info.json', 'pick.jsonl', 'plan.json', 'task.jsonl'],
      ].sort(),
    )
    expect(text('trl-1-warmup.yaml')).toContain(
      'model_name_or_path: "../../model"\ndatasets:\n  - path: "json"\n    data_files: "pick.jsonl"\n',
    )
    // 12 rows a step are two passes of 6.
    expect(text('trl-1-warmup.yaml')).toContain('per_device_train_batch_size: 6\ngradient_accumulation_steps: 2\n')
    expect(text('trl-2-task.yaml')).toMatch(
      /model_name_or_path: "\.\/trl-warmup"\n[\s\S]*assistant_only_loss: true\n[\s\S]*num_train_epochs: 2\n/,
    )
    expect(text('axolotl-2-task.yaml')).toContain(
      '    type: "chat_template"\n    field_messages: "messages"\n    roles_to_train:\n      - "assistant"\n',
    )
    expect(text('axolotl-2-task.yaml')).toMatch(/learning_rate: 0\.00002\n[\s\S]*adam_epsilon: 1\.0e-8\n/)
    expect(text('llamafactory-1-warmup.yaml')).toContain('stage: "pt"\n')
    expect(text('llamafactory-2-task.yaml')).toContain('stage: "sft"\n')
    expect(JSON.parse(text('dataset_info.json')).task).toMatchObject({
      formatting: 'sharegpt',
      tags: { role_tag: 'role' },
    })
  })

  it('without a chat template writes prompts and completions, with the blank line that winnow trains with', async () => {
    const { lines, text, folder } = await planned(Array(10).fill(chat('Hi', 'Hello')), undefined)
    expect(lines('task.jsonl')[0]).toEqual({ prompt: 'Hi\n\n', completion: 'Hello' })
    expect(text('trl-2-task.yaml')).toContain('completion_only_loss: true\n')
    expect(text('axolotl-2-task.yaml')).toContain(
      '    type:\n      system_prompt: ""\n      field_instruction: "prompt"\n',
    )
    // LLaMA-Factory has no template that ends such a completion.
    expect(readdirSync(folder).filter((name) => name.startsWith('llamafactory'))).toEqual([])
  })

  it('goes on with adapters where the trainer can', async () => {
    const { plan, text, folder } = await planned(Array(10).fill(chat('Hi', 'Hello')), CHAT_TEMPLATE, { lora: 4 })
    const modules = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']
    expect(plan.adapters).toEqual({ rank: 4, alpha: 8, dropout: 0, modules: expect.arrayContaining(modules) })
    expect(plan.stages.map(({ learningRate }) => learningRate)).toEqual([2e-4, 2e-4])
    expect(text('axolotl-2-task.yaml')).toMatch(
      /base_model: "\.\.\/\.\.\/model"\nadapter: "lora"\nlora_model_dir: "\.\/axolotl-warmup"\n/,
    )
    expect(text('axolotl-1-warmup.yaml')).not.toContain('lora_model_dir')
    expect(text('llamafactory-2-task.yaml')).toContain('adapter_name_or_path: "./llamafactory-warmup"\n')
    expect(readdirSync(folder).filter((name) => name.startsWith('trl'))).toEqual([])
  })

  it('has no recipes where no other trainer can tell what is trained, and takes old ones away', async () => {
    const home = await planned(Array(10).fill(chat('Hi', 'Hello')), undefined)
    const { options, folder } = home
    writePool(options.task.files[0], Array(10).fill(JSON.stringify(chat('Hi', 'Hello', 'Bye', 'See you'))))
    const { notices } = await exportWarmup({ ...options, overwrite: true }, { ort })
    expect(notices).toContainEqual(expect.objectContaining({ code: 'no-recipes' }))
    expect(readdirSync(folder).sort()).toEqual(['pick.jsonl', 'plan.json', 'task.jsonl'])
    const { turns } = home.lines('task.jsonl')[0]
    expect(turns.map(({ trained }: { trained: boolean }) => trained)).toEqual([false, true, false, true])
  })

  it('leaves out rows that the template refuses or that end before a trained token', async () => {
    const rows = [
      chat('Hi', 'Hello'),
      chat('unspeakable', 'No'),
      chat('so '.repeat(200), 'Yes'),
      chat('Bye', 'See you'),
    ]
    const { lines, plan } = await planned(rows, CHAT_TEMPLATE, { onBadRow: 'skip' })
    expect(lines('task.jsonl')).toEqual([rows[0], rows[3]])
    expect(plan.stages[1]).toMatchObject({ rows: 4, trainedRows: 2, data: { rows: 2 } })
  })

  it('takes the pieces of a template for a prompt and its completion', async () => {
    const template = 'Q: {q}\\nA: {a*}'
    const { lines } = await planned(Array(10).fill({ q: 'One', a: 'Two' }), CHAT_TEMPLATE, {
      task: { files: [], template },
    })
    expect(lines('task.jsonl')[0]).toEqual({ prompt: 'Q: One\nA: ', completion: 'Two' })
  })
})

describe('recipes', () => {
  const stage = (more: Partial<WarmupPlanStage>): WarmupPlanStage => ({
    ...{ name: 'warmup', from: 'model', loss: 'every token but the first', sources: [], epochs: 1 },
    data: { file: 'pick.jsonl', form: 'text', rows: 1, size: 1, sha256: '' },
    ...{ rows: 1, trainedRows: 1, cutRows: 0, tokens: 1, trainedTokens: 1, rowsPerStep: 13, tokensPerStep: 1 },
    ...{ steps: 1, warmupSteps: 1, learningRate: 1e-7, maximumLength: 512 },
    ...more,
  })
  const plan = (...stages: WarmupPlanStage[]): WarmupPlan => ({
    ...{ format: 'winnow-warmup-plan', formatVersion: 1, seed: 0, schedule: 'cosine', stages },
    model: {
      ...{ name: 'a/b', kind: 'hub', id: 'a/b', revision: 'c0ffee', hash: '', family: 'llama', parameters: 1 },
      layout: 'template',
    },
    optimiser: { name: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, maximumNorm: 1 },
  })

  it('pin the commit of a model of the hub in the first stage only', () => {
    const files = recipes(plan(stage({}), stage({ name: 'task', from: 'warmup' })))
    const pinned = Object.entries(files).filter(([, text]) => text.includes('"c0ffee"'))
    expect(pinned.map(([name]) => name).sort()).toEqual([
      ...['axolotl-1-warmup.yaml', 'llamafactory-1-warmup.yaml', 'trl-1-warmup.yaml'],
    ])
  })

  it('write numbers that YAML 1.1 takes for numbers, and steps of a prime number of rows', () => {
    const text = recipes(plan(stage({}), stage({ name: 'task', from: 'warmup' })))['trl-1-warmup.yaml']
    expect(text).toContain('learning_rate: 1.0e-7\n')
    expect(text).toContain('per_device_train_batch_size: 1\ngradient_accumulation_steps: 13\n')
  })

  it('leave LLaMA-Factory out of conversations that are not by turns', () => {
    const data = { file: 'task.jsonl', form: 'messages', alternating: false, rows: 1, size: 1, sha256: '' } as const
    const files = Object.keys(recipes(plan(stage({}), stage({ name: 'task', from: 'warmup', data }))))
    expect(files.filter((name) => name.startsWith('llamafactory') || name === 'dataset_info.json')).toEqual([])
    expect(files).toHaveLength(4)
  })
})
