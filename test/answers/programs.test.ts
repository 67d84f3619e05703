import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ASK_FOR_PROGRAM, answerByPrograms } from '../../src/answers/programs.ts'
import { askingTurns, readTasks } from '../../src/answers/tasks.ts'
import { openDataset } from '../../src/dataset/dataset.ts'
import { behindQuestion } from '../../src/dataset/template.ts'
import { directory } from '../pipeline/pools.ts'

describe('answers by programs', () => {
  it('are what a program printed, and where it printed nothing what a second pass says', async () => {
    const asked: number[][] = []
    const first = ['```python\nprint(6 * 7)\n```', 'It is 5.', 'print(1 / 0)', 'print()']
    const answers = await answerByPrograms({
      ask: async () => first,
      run: async (texts) => {
        expect(texts).toEqual(first)
        return [{ output: '42\n' }, undefined, { output: '', fault: 'error' }, { output: '\n' }]
      },
      answer: async (questions) => {
        asked.push([...questions])
        return questions.map((i) => `second ${i}`)
      },
    })
    expect(asked).toEqual([[1, 2, 3]])
    expect(answers.map(({ text }) => text)).toEqual(['The answer is 42', 'second 1', 'second 2', 'second 3'])
    expect(answers[0].program).toMatchObject({ text: first[0], output: '42\n' })
    expect(answers[1].program).toBeUndefined()
    expect(answers[2].program?.fault).toBe('error')
  })

  it('need no second pass where all have printed', async () => {
    const answers = await answerByPrograms({
      ask: async () => ['print(1)'],
      run: async () => [{ output: '1\n' }],
      answer: async () => Promise.reject(new Error('not to be asked')),
    })
    expect(answers).toEqual([{ text: 'The answer is 1', program: { text: 'print(1)', output: '1\n' } }])
  })
})

describe('the question of the first pass', () => {
  const options = { name: 'set', rows: [0, 1], answer: 'last', sentence: ASK_FOR_PROGRAM } as const
  async function turnsOf(lines: object[], template?: string) {
    const file = join(directory(), 'test.jsonl')
    writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    const dataset = await openDataset([file], { template })
    const tasks = await readTasks(dataset, options)
    return { tasks, asking: await askingTurns(dataset, tasks, options) }
  }

  it('has the sentence behind the last one that a user asks', async () => {
    const chat = ['One?', 'Yes.', 'Two?', 'No.'].map((content, i) => ({
      ...{ role: i % 2 === 0 ? 'user' : 'assistant', content },
    }))
    const { tasks, asking } = await turnsOf([{ messages: chat }, { messages: chat.slice(0, 2) }])
    expect(tasks.map(({ row, line, reference }) => [row, line, reference])).toEqual([
      [0, 1, 'No.'],
      [1, 2, 'Yes.'],
    ])
    expect(asking[0].map(({ content }) => content)).toEqual(['One?', 'Yes.', "Two? Let's write a program.", 'No.'])
    expect(asking[1][0].content).toBe("One? Let's write a program.")
  })

  it('has it within a template, behind the field of the question', async () => {
    const template = '### Instruction:\\n{q} {{now}}\\n\\n### Response:{a*}'
    const { tasks, asking } = await turnsOf(
      [
        { q: '1 + 1?', a: '2' },
        { q: '2 + 2?', a: '4' },
      ],
      template,
    )
    expect(tasks[1].reference).toBe('4')
    expect(tasks[1].turns[0].content).toBe('### Instruction:\n2 + 2? {now}\n\n### Response:')
    expect(asking[1][0].content).toBe("### Instruction:\n2 + 2? Let's write a program. {now}\n\n### Response:")
    expect(() => behindQuestion('Say: {a*}{q}', '!')).toThrow(/no field for the question/)
  })

  it('is not asked of a text without a response', async () => {
    await expect(turnsOf([{ text: 'Once upon a time' }])).rejects.toMatchObject({
      fault: { code: 'no-response', line: 1 },
    })
  })
})
