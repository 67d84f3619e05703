/** Rows of a test set as tasks: what is asked, and the answer that is expected. */

import { type Dataset, openDataset } from '../dataset/dataset.ts'
import type { Turn } from '../dataset/record.ts'
import { behindQuestion } from '../dataset/template.ts'
import { WinnowError } from '../errors.ts'
import type { Answer } from '../generation/prompts.ts'

export interface Task {
  /** 0-based over the set, and where it stands. */
  row: number
  file: string
  line: number
  /** Up to the answer, which is the last. */
  turns: readonly Turn[]
  /** The record's own answer. */
  reference: string
}

export interface TaskOptions {
  /** Of the set, for errors. */
  name: string
  /** Ascending. */
  rows: Iterable<number>
  /** Which answer of a conversation. */
  answer: Answer
  signal?: AbortSignal
}

/** A turn of the model, or what a `--template` trains behind a prompt. */
const isAnswer = ({ role, trained }: Turn, i: number) => role === 'assistant' || (role === 'text' && trained && i > 0)

/**
 * The tasks of these rows, in order. Memory: their texts.
 *
 * @throws {WinnowError} `no-response` where a row has no response to compare with.
 */
export async function readTasks(dataset: Dataset, { name, rows, answer, signal }: TaskOptions): Promise<Task[]> {
  const wanted = new Set(rows)
  const tasks: Task[] = []
  for await (const { records } of dataset.batches({ signal }))
    for (const { row, turns, file, line } of records) {
      if (!wanted.has(row)) continue
      const at = answer === 'first' ? turns.findIndex(isAnswer) : turns.findLastIndex(isAnswer)
      if (at < 0)
        throw new WinnowError('input', {
          code: 'no-response',
          message: `a row of the test set ${name} has no response that answers could be compared with`,
          file,
          line,
          expected: 'a prompt and a response',
          hint: 'Texts without responses can be scored by --metrics nll.',
        })
      tasks.push({ row, file, line, turns: turns.slice(0, at + 1), reference: turns[at].content })
    }
  return tasks
}

/** The turns with a sentence behind the last question. */
function asking(turns: readonly Turn[], sentence: string): Turn[] {
  const at = turns.findLastIndex(({ role }) => role === 'user')
  return turns.map((turn, i) => (i === at ? { ...turn, content: turn.content + sentence } : turn))
}

/**
 * The turns of tasks with a sentence behind the question; of records that a `--template` writes, behind its last field that is not trained.
 *
 * @throws {WinnowError} `bad-template` where the template has no such field before what is trained.
 */
export async function askingTurns(
  dataset: Dataset,
  tasks: readonly Task[],
  { sentence, ...options }: TaskOptions & { sentence: string },
): Promise<(readonly Turn[])[]> {
  const { template } = dataset.options
  if (template === undefined) return tasks.map(({ turns }) => asking(turns, sentence))
  const paths = dataset.inputs.map(({ path }) => path)
  const other = await openDataset(paths, { ...dataset.options, template: behindQuestion(template, sentence) })
  return (await readTasks(other, options)).map(({ turns }) => turns)
}
