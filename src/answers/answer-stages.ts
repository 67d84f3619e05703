/** The stages in which a model answers the questions of a test set, resumable part by part. */

import { readFile } from 'node:fs/promises'
import type { Turn } from '../dataset/record.ts'
import { type BaseOptions, type Context, perform } from '../pipeline/context.ts'
import {
  type GenerationFacts,
  type GenerationOptions,
  generateParts,
  type StoredText,
  type TextEnds,
} from '../pipeline/generate-stage.ts'
import type { Pretrained } from '../pipeline/pretrained.ts'
import { hashJson, type Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import type { ProgramResult } from '../sandbox/program.ts'
import { TRAINED_BIT } from '../tokenizer/tokenizer.ts'
import type { TokenRows } from '../training/rows.ts'
import { type Answered, ASK_FOR_PROGRAM, answerByPrograms, openPrograms } from './programs.ts'
import type { Task } from './tasks.ts'

/** Programs of a part: what a killed run runs again, at most. */
const PROGRAMS_PER_PART = 32

/** A test set as the model reads it. */
export interface ReadSet {
  rows: TokenRows
  /** Of their tokens. */
  hash: string
  pretrained: Pretrained
  ends: TextEnds
}

/** A text, and how it came about. */
export interface Written {
  text: string
  tokens: number
  ended: StoredText['ended']
}

export interface WrittenTexts {
  /** By row, then sample. */
  texts: Map<number, Written[]>
  facts: GenerationFacts
}

/** Texts of all rows of a set: `samples` of each, as `generateParts` makes them. Memory: the texts. */
export async function writeTexts(
  context: Context<BaseOptions>,
  { rows, hash, pretrained, ends }: ReadSet,
  options: Omit<GenerationOptions, 'topK'>,
): Promise<WrittenTexts> {
  const own = { ...context, options: { ...context.options, ...options } }
  const { parts, facts } = await generateParts(own, { rows, tokensHash: hash, pretrained, ends })
  const texts: WrittenTexts['texts'] = new Map()
  for (const { file } of parts)
    for (const { prompt, tokens, ended } of JSON.parse(
      await readFile(context.run.path(file), 'utf8'),
    ) as StoredText[]) {
      const written = { text: pretrained.tokenizer.decode(tokens), tokens: tokens.length, ended }
      const same = texts.get(prompt)
      if (same === undefined) texts.set(prompt, [written])
      else same.push(written)
    }
  return { texts, facts }
}

/** What answers are made by. */
export type AnsweringOptions = BaseOptions &
  Pick<GenerationOptions, 'maxNewTokens' | 'batch'> & {
    /** Of a program, by the clock. */
    programSeconds: number
  }

export type ProgramFacts = { ran: number } & Record<NonNullable<ProgramResult['fault']>, number>

export interface SetAnswers {
  /** One for each task. */
  answers: (Answered & Pick<Written, 'tokens' | 'ended'>)[]
  /** Tokens are those of both passes; ends those of the answers. */
  facts: GenerationFacts
  programs?: ProgramFacts
}

/** Greedy answers to the tasks of a set. `askingOf`: the turns of the first pass, where programs are asked for. */
export async function answerTasks(
  context: Context<AnsweringOptions>,
  set: ReadSet,
  tasks: readonly Task[],
  askingOf?: readonly (readonly Turn[])[],
): Promise<SetAnswers> {
  const { maxNewTokens, batch } = context.options
  const greedy = { ...{ maxNewTokens, batch }, temperature: 0, topP: 1, samples: 1 }
  let tokens = 0
  const written: Written[] = []
  const write = async (own: ReadSet, questions: readonly number[]) => {
    const { texts, facts: some } = await writeTexts(context, own, greedy)
    tokens += some.tokens
    for (const i of questions) written[i] = (texts.get(tasks[i].row) as Written[])[0]
    return questions.map((i) => written[i].text)
  }
  const all = [...tasks.keys()]
  const plain = (questions: readonly number[]) =>
    write(
      onlyRows(
        set,
        questions.map((i) => tasks[i].row),
      ),
      questions,
    )
  let answers: Answered[]
  let programs: ProgramFacts | undefined
  if (askingOf === undefined) answers = (await plain(all)).map((text) => ({ text }))
  else
    answers = await answerByPrograms({
      ask: () => write(askingRows(set, tasks, askingOf), all),
      run: async (texts) => {
        const { results, facts: ran } = await runPrograms(context, texts)
        programs = ran
        return results
      },
      answer: plain,
    })
  const ended = (how: Written['ended']) => written.filter((one) => one.ended === how).length
  return {
    answers: answers.map((answer, i) => ({ ...answer, tokens: written[i].tokens, ended: written[i].ended })),
    facts: { texts: tasks.length, tokens, window: ended('window'), unended: ended('length') },
    programs,
  }
}

/** The set without the tokens of other rows: they get no text. */
function onlyRows(set: ReadSet, numbers: readonly number[]): ReadSet {
  const { rows } = set
  const wanted = new Set(numbers)
  if (rows.lengths.every((length, row) => length === 0 || wanted.has(row))) return set
  const lengths = rows.lengths.map((length, row) => (wanted.has(row) ? length : 0))
  return {
    ...set,
    rows: { count: rows.count, lengths, labels: rows.labels, read: (row) => rows.read(row) },
    hash: hashJson({ tokens: set.hash, rows: [...numbers] }),
  }
}

/** The rows of the first pass, by the numbers of the second. */
function askingRows(set: ReadSet, tasks: readonly Task[], askingOf: readonly (readonly Turn[])[]): ReadSet {
  const { count } = set.rows
  const tokens: Uint32Array[] = Array.from({ length: count }, () => new Uint32Array())
  for (const [i, { row, file, line }] of tasks.entries())
    tokens[row] = set.pretrained.tokenizer.encodeTurns(askingOf[i], { file, line })
  const trained = (row: Uint32Array) => row.reduce((sum, token) => sum + Number((token & TRAINED_BIT) !== 0), 0)
  return {
    ...set,
    rows: {
      count,
      lengths: Uint32Array.from(tokens, ({ length }) => length),
      labels: Uint32Array.from(tokens, trained),
      read: (row) => tokens[row],
    },
    hash: hashJson({ tokens: set.hash, behind: ASK_FOR_PROGRAM }),
  }
}

/** Runs what of the texts is a program, one after another, each in the sandbox. */
async function runPrograms(
  context: Context<AnsweringOptions>,
  texts: readonly string[],
): Promise<{ results: (ProgramResult | undefined)[]; facts: ProgramFacts }> {
  const { programSeconds: seconds } = context.options
  const parts = Array.from({ length: Math.ceil(texts.length / PROGRAMS_PER_PART) }, (_, i) => i * PROGRAMS_PER_PART)
  const fileOf = (key: string, from: number) =>
    `programs/${key.slice(0, 12)}/texts-${String(from).padStart(9, '0')}.json`
  type Stored = (ProgramResult | null)[]
  const read = async (file: string) => JSON.parse(await readFile(context.run.path(file), 'utf8')) as Stored
  const result = await perform<ProgramFacts & Json>(context, {
    name: 'programs',
    version: 1,
    inputs: { texts: hashJson([...texts]) },
    options: { seconds, pyodide: context.run.manifest.versions.pyodide ?? '' },
    async execute(work, progress) {
      await using sandbox = openPrograms({ seconds })
      const outputs: OutputRecord[] = []
      const facts: ProgramFacts = { ran: 0, timeout: 0, memory: 0, error: 0, forbidden: 0 }
      let done = 0
      for (const from of parts) {
        const file = fileOf(work.key, from)
        const kept = work.parts.find(({ part }) => part === file)?.outputs[0]
        let results: Stored = []
        if (kept?.intact) {
          outputs.push({ path: kept.path, size: kept.size, sha256: kept.sha256 })
          results = await read(file)
        } else {
          for (const text of texts.slice(from, from + PROGRAMS_PER_PART)) {
            results.push((await sandbox.run(text, context.signal)) ?? null)
            progress({ fraction: (from + results.length) / texts.length, done: ++done, unit: 'rows' })
          }
          const output = await work.write(file, `${JSON.stringify(results)}\n`)
          await work.finishPart(file, [output])
          outputs.push(output)
        }
        for (const one of results) {
          if (one === null) continue
          facts.ran++
          if (one.fault !== undefined) facts[one.fault]++
        }
      }
      return { outputs, value: facts }
    },
    summary: ({ ran, timeout, memory, error, forbidden }) =>
      `${ran.toLocaleString('en')} programs in ${texts.length.toLocaleString('en')} texts, ${(timeout + memory + error + forbidden).toLocaleString('en')} of them failed`,
  })
  const results: (ProgramResult | undefined)[] = []
  for (const from of parts) for (const one of await read(fileOf(result.key, from))) results.push(one ?? undefined)
  return { results, facts: result.value }
}
