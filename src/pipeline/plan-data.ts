/** The data of a fine-tuning as other trainers read them: JSON Lines in one of the forms that they share. */

import { join } from 'node:path'
import type { Dataset } from '../dataset/dataset.ts'
import type { Turn } from '../dataset/record.ts'
import { wholeText } from '../dataset/whole-text.ts'
import { createAtomicFile } from '../runs/files.ts'
import type { FileRecord } from '../runs/hash.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'

/**
 * - `text`: `{"text"}`, all of it trained;
 * - `prompt-completion`: `{"prompt", "completion"}`, the completion trained;
 * - `messages`: `{"messages": [{"role", "content"}]}`, what the assistant says trained, written by the model's chat template;
 * - `turns`: `{"turns": [{"role", "content", "trained"}]}`, for all that fits none of these; no other trainer reads it.
 */
export type DataForm = 'text' | 'prompt-completion' | 'messages' | 'turns'

export interface DataFile extends FileRecord {
  /** In the plan's directory. */
  file: string
  form: DataForm
  rows: number
  /** Of `messages`: whether every record is user and assistant by turns, after a system prompt or none. */
  alternating?: boolean
}

interface Writing {
  dataset: Dataset
  /** Rows to write, ascending. */
  trainOn: Uint32Array
  tokenizer: Tokenizer
  directory: string
  file: string
  signal?: AbortSignal
}

/** Writes rows of a dataset in the one form that fits them all. Two passes; memory of a batch. */
export async function writePlanData(writing: Writing): Promise<DataFile> {
  const { tokenizer, trainOn, directory, file } = writing
  let form: DataForm | undefined
  let alternating = true
  for await (const turns of turnsOf(writing)) {
    const own = formOf(turns, tokenizer.layout)
    form = form === undefined || form === own ? own : 'turns'
    alternating &&= isAlternating(turns)
  }
  const known = form ?? 'turns'
  await using output = await createAtomicFile(join(directory, file))
  for await (const turns of turnsOf(writing)) await output.write(`${JSON.stringify(rowOf(turns, known))}\n`)
  const record = await output.commit()
  return { file, form: known, rows: trainOn.length, ...(known === 'messages' && { alternating }), ...record }
}

/** The turns of the rows that are trained on: not of those that the template refuses, or that end before a trained token. */
async function* turnsOf({ dataset, trainOn, signal }: Writing): AsyncGenerator<Turn[]> {
  let next = 0
  for await (const { records } of dataset.batches({ signal })) {
    for (const { row, turns } of records) {
      if (row !== trainOn[next]) continue
      next++
      yield turns
    }
  }
}

function formOf(turns: readonly Turn[], layout: Tokenizer['layout']): DataForm {
  const texts = turns.every(({ role }) => role === 'text')
  if (texts && turns.every(({ trained }) => trained)) return 'text'
  // Behind a chat template a conversation is the template's to write; without one it is plain text, as pieces of a text are.
  if (!texts && layout === 'template')
    return turns.every(({ role, trained }) => trained === (role === 'assistant')) ? 'messages' : 'turns'
  const first = turns.findIndex(({ trained }) => trained)
  return first > 0 && first === turns.length - 1 ? 'prompt-completion' : 'turns'
}

function isAlternating(turns: readonly Turn[]): boolean {
  const spoken = turns[0]?.role === 'system' ? turns.slice(1) : turns
  return spoken.length % 2 === 0 && spoken.every(({ role }, i) => role === (i % 2 === 0 ? 'user' : 'assistant'))
}

function rowOf(turns: readonly Turn[], form: DataForm): object {
  if (form === 'text') return { text: wholeText(turns) }
  if (form === 'messages') return { messages: turns.map(({ role, content }) => ({ role, content })) }
  if (form === 'turns') return { turns: turns.map(({ role, content, trained }) => ({ role, content, trained })) }
  const completion = turns[turns.length - 1].content
  // With the blank line that stands between turns of plain text.
  const whole = wholeText(turns)
  return { prompt: whole.slice(0, whole.length - completion.length), completion }
}
