import { describe, expect, it } from 'vitest'
import { openDataset } from '../../src/dataset/dataset.ts'
import { detectFormat } from '../../src/dataset/formats.ts'
import { failureOf, fileOf, fixture, recordsOf, turnsOf } from './workspace.ts'

/** Every format: one row, the name it is detected by, and the turns it becomes. */
const CASES: { name: string; what: string; row: Record<string, unknown>; turns: string[] }[] = [
  {
    name: 'messages',
    what: 'several turns, all assistant turns trained',
    row: {
      messages: [
        { role: 'developer', content: 'Be brief.' },
        { role: 'user', content: 'Hi' },
        { role: 'assistant', content: 'Hello' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'And ' },
            { type: 'text', text: 'you?' },
          ],
        },
        { role: 'assistant', content: 'Fine' },
      ],
    },
    turns: ['system: Be brief.', 'user: Hi', 'assistant!: Hello', 'user: And you?', 'assistant!: Fine'],
  },
  {
    name: 'messages',
    what: 'tools, calls and reasoning as text; weight 0 and empty turns untrained',
    row: {
      tools: [{ type: 'function', function: { name: 'time', parameters: {} } }],
      messages: [
        { role: 'system', content: 'You can look.' },
        { role: 'user', content: 'What time is it?' },
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: '1', type: 'function', function: { name: 'time', arguments: '{"zone": "UTC"}' } }],
        },
        { role: 'tool', tool_call_id: '1', content: '12:00' },
        { role: 'assistant', content: 'Noon.', reasoning_content: '12:00 is noon' },
        { role: 'assistant', content: 'Ignore this.', weight: 0 },
        { role: 'assistant', content: '' },
      ],
    },
    turns: [
      'system: You can look.\n\n<tools>\n{"type":"function","function":{"name":"time","parameters":{}}}\n</tools>',
      'user: What time is it?',
      'assistant!: <tool_call>\n{"name": "time", "arguments": {"zone": "UTC"}}\n</tool_call>',
      'tool: 12:00',
      'assistant!: <think>\n12:00 is noon\n</think>\nNoon.',
      'assistant: Ignore this.',
      'assistant: ',
    ],
  },
  {
    name: 'sharegpt',
    what: 'from and value, with a system prompt beside',
    row: {
      system: 'Be kind.',
      conversations: [
        { from: 'human', value: 'Hi' },
        { from: 'function_call', value: '{"name": "wave"}' },
        { from: 'observation', value: 'waved' },
        { from: 'gpt', value: 'Hello' },
      ],
    },
    turns: [
      'system: Be kind.',
      'user: Hi',
      'assistant!: <tool_call>\n{"name": "wave"}\n</tool_call>',
      'tool: waved',
      'assistant!: Hello',
    ],
  },
  {
    name: 'messages',
    what: 'JSON text, as CSV files hold it',
    row: { messages: '[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]' },
    turns: ['user: a', 'assistant!: b'],
  },
  {
    name: 'alpaca',
    what: 'instruction and input',
    row: { instruction: 'Add.', input: '1 2', output: '3' },
    turns: ['user: Add.\n\n1 2', 'assistant!: 3'],
  },
  {
    name: 'alpaca',
    what: 'no input (Dolly: context and response)',
    row: { instruction: 'Add 1 2.', context: '', response: '3' },
    turns: ['user: Add 1 2.', 'assistant!: 3'],
  },
  {
    name: 'prompt-completion',
    what: 'prompt and completion',
    row: { prompt: 'a', completion: 'b' },
    turns: ['user: a', 'assistant!: b'],
  },
  {
    name: 'prompt-completion',
    what: 'prompt and response, numbers as text',
    row: { prompt: '1 + 1', response: 2 },
    turns: ['user: 1 + 1', 'assistant!: 2'],
  },
  {
    name: 'prompt-completion',
    what: 'lists of messages: earlier assistant turns are prompt',
    row: {
      prompt: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b' },
        { role: 'user', content: 'c' },
      ],
      completion: [{ role: 'assistant', content: 'd' }],
    },
    turns: ['user: a', 'assistant: b', 'user: c', 'assistant!: d'],
  },
  {
    name: 'question-answer',
    what: 'question and answer beside a text field',
    row: { question: 'q', answer: 'a', text: 'q a' },
    turns: ['user: q', 'assistant!: a'],
  },
  { name: 'text', what: 'the whole text trained', row: { text: 'All of it.' }, turns: ['text!: All of it.'] },
  {
    name: 'preference',
    what: 'the chosen answer',
    row: { prompt: 'p', chosen: 'yes', rejected: 'no' },
    turns: ['user: p', 'assistant!: yes'],
  },
  {
    name: 'preference',
    what: 'chosen dialogues that repeat the prompt',
    row: {
      prompt: 'p',
      chosen: [
        { role: 'user', content: 'p' },
        { role: 'assistant', content: 'yes' },
      ],
      rejected: [],
    },
    turns: ['user: p', 'assistant!: yes'],
  },
]

describe('formats', () => {
  for (const { name, what, row, turns } of CASES) {
    it(`reads ${name}: ${what}`, async () => {
      const dataset = await openDataset([await fileOf('pool.jsonl', JSON.stringify(row))])
      expect(dataset.format.name).toBe(name)
      expect(turnsOf((await recordsOf(dataset))[0])).toEqual(turns)
    })
  }

  it('says why it chose a format, and what is not used', () => {
    const rows = [{ prompt: 'p', chosen: 'a', rejected: 'b' }, { prompt: 'p', chosen: 'a' }, { other: 1 }]
    const format = detectFormat(rows, 'pool.jsonl')
    expect(format.reason).toBe('`chosen` in 2 of the first 3 rows')
    expect(format.note).toContain('`rejected` is not used')
    expect(detectFormat([{ question: 'q', answer: 'a' }], 'x').reason).toBe(
      '`question` and `answer` in 1 of the first 1 rows',
    )
  })

  it('takes the format that most rows fit', () => {
    const rows = [{ messages: [{ role: 'user', content: 'a' }] }, { text: 'a' }, { text: 'b' }]
    expect(detectFormat(rows, 'pool.jsonl').name).toBe('text')
  })

  it('names the fields found where no format fits, and near misses', async () => {
    const error = await failureOf(openDataset([fixture('svamp.json')]))
    expect(error.fault.code).toBe('unknown-format')
    expect(error.exitCode).toBe(2)
    expect(error.message).toContain('`Question` (a string)')
    expect(error.message).toContain('`Question` is close to `question`')
  })

  it('reads source from `source`, else `domain`, strings and numbers alone', async () => {
    const rows = [
      { text: 'a', source: 'web', domain: 'x' },
      { text: 'b', domain: 7 },
      { text: 'c', source: ['list'] },
      { text: 'd', source: '' },
    ]
    const dataset = await openDataset([await fileOf('pool.jsonl', rows.map((row) => JSON.stringify(row)).join('\n'))])
    expect((await recordsOf(dataset)).map((record) => record.source)).toEqual(['web', '7', undefined, undefined])
    expect(dataset.report().sources).toEqual([
      { source: '7', rows: 1 },
      { source: 'web', rows: 1 },
    ])
  })

  it('reads inputs of different formats into one pool', async () => {
    const paths = [
      await fileOf('a.jsonl', '{"text":"a"}\n'),
      await fileOf('b.jsonl', '{"instruction":"b","output":"c"}\n'),
    ]
    const dataset = await openDataset(paths)
    expect(dataset.format.name).toBe('mixed')
    expect((await recordsOf(dataset)).map((record) => [record.row, turnsOf(record)])).toEqual([
      [0, ['text!: a']],
      [1, ['user: b', 'assistant!: c']],
    ])
  })
})

describe('--fields', () => {
  const open = (fields: string) => openDataset([fixture('mts-dialog.csv')], { fields })

  it('binds prompt, response and source to other names', async () => {
    const dataset = await open('prompt=dialogue, response=section_text, source=section_header')
    const [record] = await recordsOf(dataset)
    expect(dataset.format.name).toBe('prompt-completion')
    expect(record.turns[0].content).toMatch(/^Doctor: /)
    expect(record.turns[1]).toMatchObject({ role: 'assistant', trained: true })
    expect(record.source).toBe('GENHX')
  })

  it('binds messages and nested fields', async () => {
    const row = {
      data: {
        dialog: [
          { from: 'human', value: 'a' },
          { from: 'gpt', value: 'b' },
        ],
      },
      meta: { site: 'x' },
    }
    const path = await fileOf('pool.jsonl', JSON.stringify(row))
    const dataset = await openDataset([path], { fields: { messages: 'data.dialog', source: 'meta.site' } })
    const [record] = await recordsOf(dataset)
    expect([turnsOf(record), record.source]).toEqual([['user: a', 'assistant!: b'], 'x'])
  })

  it('leaves unnamed slots at their usual names', async () => {
    const path = await fileOf('pool.jsonl', '{"prompt":"p","reply":"r"}')
    expect(turnsOf((await recordsOf(await openDataset([path], { fields: 'response=reply' })))[0])).toEqual([
      'user: p',
      'assistant!: r',
    ])
  })

  it('binds a response in whatever format the rows have', async () => {
    const path = await fileOf('pool.jsonl', '{"instruction":"i","input":"x","reply":"r"}')
    const dataset = await openDataset([path], { fields: 'answer=reply' })
    expect([dataset.format.name, turnsOf((await recordsOf(dataset))[0])]).toEqual([
      'alpaca',
      ['user: i\n\nx', 'assistant!: r'],
    ])
    expect((await failureOf(open('text=dialogue,prompt=ID'))).fault).toMatchObject({
      code: 'bad-fields',
      message: '--fields binds `text` and `prompt`, which no format has together',
    })
  })

  it('refuses a field that no row has and offers the nearest', async () => {
    const { fault } = await failureOf(open('prompt=dialog,response=section_text'))
    expect(fault).toMatchObject({ code: 'unknown-field', path: 'dialog', hint: 'Did you mean `dialogue`?' })
    expect(fault.found).toContain('`section_header`')
  })

  it('refuses names and forms it does not know', async () => {
    expect((await failureOf(open('promt=dialogue'))).fault).toMatchObject({
      code: 'bad-fields',
      hint: 'Did you mean `prompt`?',
    })
    expect((await failureOf(open('prompt'))).fault.code).toBe('bad-fields')
    expect((await failureOf(open('response=ID,answer=ID'))).message).toContain('binds `response` twice')
  })
})

describe('--template', () => {
  const turns = async (template: string, row: unknown) => {
    const dataset = await openDataset([await fileOf('pool.jsonl', JSON.stringify(row))], { template })
    return turnsOf((await recordsOf(dataset))[0])
  }

  it('trains starred fields alone and joins neighbours of one mask', async () => {
    expect(await turns('Q: {q}\\nA: {a*}.', { q: 'one', a: 'two' })).toEqual([
      'text: Q: one\nA: ',
      'text!: two',
      'text: .',
    ])
    expect(await turns('{a*}{b*}', { a: 1, b: true })).toEqual(['text!: 1true'])
  })

  it('takes braces, escapes, nested paths, lists and nulls', async () => {
    const row = { a: { b: 'x', list: ['y', 'z'] }, none: null, 'c.d': 'dotted' }
    expect(await turns('{{{a.b}}}{none}\\t{a.list} {c.d} {a.list.1*}', row)).toEqual([
      'text: {x}\ty\nz dotted ',
      'text!: z',
    ])
  })

  it('counts a row that lacks a field as bad', async () => {
    const path = await fileOf('pool.jsonl', '{"a":"x"}\n{"b":"y"}\n{"a":{"deep":1}}\n')
    const dataset = await openDataset([path], { template: '{a*}', onBadRow: 'skip' })
    expect(await recordsOf(dataset)).toHaveLength(1)
    expect(dataset.report().bad).toMatchObject([
      { code: 'missing-field', line: 2, path: 'a' },
      { code: 'wrong-type', line: 3, path: 'a', found: 'an object' },
    ])
  })

  it('refuses a template that trains nothing, is torn, or names no field', async () => {
    const path = await fileOf('pool.jsonl', '{"answer":"x"}')
    for (const template of ['{answer}', '{answer*', 'a } {answer*}', '{}{answer*}', '{*}']) {
      const error = await failureOf(openDataset([path], { template }))
      expect([template, error.fault.code, error.kind]).toEqual([template, 'bad-template', 'usage'])
    }
    const unknown = await failureOf(openDataset([path], { template: '{anwser*}' }))
    expect(unknown.fault).toMatchObject({ code: 'unknown-field', hint: 'Did you mean `answer`?' })
    const both = await failureOf(openDataset([path], { template: '{answer*}', fields: 'text=answer' }))
    expect(both.fault.code).toBe('bad-fields')
  })
})
