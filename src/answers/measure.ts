/** One test set measured: its loss, the answers to it, their scores, the toxicity of what is drawn from its prompts. */

import { readFile } from 'node:fs/promises'
import type { Dataset } from '../dataset/dataset.ts'
import { extractAnswer } from '../evaluation/answers.ts'
import type { Notice } from '../methods/method.ts'
import { type Context, notify } from '../pipeline/context.ts'
import type { GenerationFacts } from '../pipeline/generate-stage.ts'
import { readPool, tokenisePool } from '../pipeline/pool.ts'
import { scoreParts } from '../pipeline/score-stage.ts'
import { readNpy } from '../signals/npy.ts'
import type { TokenRows } from '../training/rows.ts'
import { windowLabels } from '../training/trajectories.ts'
import { answerTasks, type ProgramFacts, type ReadSet, type SetAnswers } from './answer-stages.ts'
import { bertScores, type DrawnText, type Instruments, toxicityOf } from './instruments.ts'
import type { AnswerLine } from './lines.ts'
import { readsAnswers } from './metrics.ts'
import type { ResolvedEvaluateOptions } from './options.ts'
import { ASK_FOR_PROGRAM } from './programs.ts'
import { extracted, type LabelScores, meanOf, type Scores, scoreAnswers, scoreLabels } from './scores.ts'
import { askingTurns, readTasks, type Task } from './tasks.ts'

export interface MeasuredSet {
  name: string
  group?: string
  file: string
  /** Rows that were measured. */
  rows: number
  scores: Scores['set']
  /** With `nll`: scored tokens, and rows without one in the window. */
  loss?: { tokens: number; unscored: number }
  /** Of the answers; `found`: those in which an exact match has found an answer. */
  answers?: GenerationFacts & { programs?: ProgramFacts; found?: number }
  perLabel?: LabelScores['perLabel']
}

export interface Measured {
  set: MeasuredSet
  lines: AnswerLine[]
  drawn: DrawnText[]
}

interface Measuring extends Omit<ReadSet, 'rows' | 'hash'>, Instruments {
  set: ResolvedEvaluateOptions['tests'][number]
  dataset: Dataset
}

/** Measures a set with the context of its section. Memory: its texts. */
export async function measureSet(
  context: Context<ResolvedEvaluateOptions>,
  { set, dataset, pretrained, ends, ...instruments }: Measuring,
): Promise<Measured> {
  const { metrics, testRows } = context.options
  const pool = await readPool(context, dataset)
  using tokens = await tokenisePool(context, dataset, pool, pretrained)
  const rows = firstRows(tokens.store, testRows)
  const hash = rows === tokens.store ? tokens.hash : `${tokens.hash} ${rows.count}`
  const read: ReadSet = { rows, hash, pretrained, ends }
  // A row that the chat template refused has no tokens.
  const numbers = [...rows.lengths.keys()].filter((row) => rows.lengths[row] > 0)
  const lines = await placesOf(dataset, set.name, numbers, context.signal)
  const measured: Measured = {
    set: { name: set.name, group: set.group, file: set.file, rows: lines.length, scores: {} },
    lines,
    drawn: [],
  }
  const take = ({ rows: own, set: scores }: Scores) => {
    Object.assign(measured.set.scores, scores)
    for (const [name, values] of Object.entries(own))
      for (const [i, line] of lines.entries()) line.scores[name as keyof Scores['rows']] = values[i]
  }
  if (metrics.includes('nll')) {
    const { scores, tokens: count } = await lossOf(context, read, numbers)
    take(scores)
    const unscored = (scores.rows.nll as (number | null)[]).filter((nll) => nll === null).length
    measured.set.loss = { tokens: count, unscored }
    if (unscored > 0)
      tell(context, set.name, {
        code: 'unscored-rows',
        message: `${unscored.toLocaleString('en')} of ${lines.length.toLocaleString('en')} rows have no scored token within ${context.options.maxLength} tokens, and no loss`,
      })
  }
  if (metrics.some(readsAnswers)) {
    const tasks = await readTasks(dataset, { ...taskOptions(context, set.name), rows: numbers })
    const answered = await answerSet(context, { read, dataset, tasks, name: set.name })
    const { scores, perLabel } = await scoresOf(context, { tasks, answered, set, instruments })
    take(scores)
    measured.set.perLabel = perLabel
    measured.set.answers = { ...answered.facts, programs: answered.programs }
    if (metrics.includes('exact-match')) measured.set.answers.found = extracted(textsOf(tasks, answered)).answers
    fill(context, lines, tasks, answered)
  }
  if (metrics.includes('toxicity')) {
    const { drawn, scores } = await toxicityOf(context, read, { name: set.name, scorer: instruments.toxicity })
    measured.drawn = drawn
    if (scores) take(scores)
    else Object.assign(measured.set.scores, { toxicity: null, 'toxicity-probability': null })
  }
  return measured
}

/** Says something of a set by its name. */
const tell = (context: Context, name: string, { message, ...rest }: Notice) =>
  notify({ ...context, section: undefined }, { message: `${name}: ${message}`, ...rest })

const taskOptions = ({ signal }: Context, name: string) => ({ name, answer: 'last', signal }) as const

/** The first rows of a set, or the set. */
function firstRows(rows: TokenRows, most = rows.count): TokenRows {
  if (most >= rows.count) return rows
  const { lengths, labels } = rows
  return {
    ...{ count: most, lengths: lengths.subarray(0, most), labels: labels.subarray(0, most) },
    read: (row) => rows.read(row),
  }
}

/** A line for each row, without scores yet. */
async function placesOf(
  dataset: Dataset,
  test: string,
  numbers: readonly number[],
  signal?: AbortSignal,
): Promise<AnswerLine[]> {
  const wanted = new Set(numbers)
  const lines: AnswerLine[] = []
  for await (const { records } of dataset.batches({ signal }))
    for (const { row, file, line } of records) if (wanted.has(row)) lines.push({ test, row, file, line, scores: {} })
  return lines
}

/** Loss of each row's responses as a mean over its tokens; of the set the mean over rows, and perplexity over all tokens. */
async function lossOf(
  context: Context<ResolvedEvaluateOptions>,
  { rows, hash, pretrained }: ReadSet,
  numbers: readonly number[],
): Promise<{ scores: Scores; tokens: number }> {
  const labels = windowLabels(rows, context.options.maxLength)
  const own = { ...context, options: { ...context.options, allTokens: false } }
  const { parts, total } = await scoreParts(own, { rows, labels, tokensHash: hash, pretrained })
  const means = new Map<number, number>()
  for (const { from, to, file } of parts) {
    const { data } = readNpy(await readFile(context.run.path(file)))
    let at = 0
    for (let row = from; row < to; row++) {
      let sum = 0
      for (const end = at + labels[row]; at < end; at++) sum += data[at]
      if (labels[row] > 0) means.set(row, sum / labels[row])
    }
  }
  const nll = numbers.map((row) => means.get(row) ?? null)
  const tokens = labels.reduce((sum, count) => sum + count, 0)
  const perplexity = tokens === 0 ? null : Math.exp(total / tokens)
  return { scores: { rows: { nll }, set: { nll: meanOf(nll), perplexity } }, tokens }
}

interface Asked {
  read: ReadSet
  dataset: Dataset
  tasks: readonly Task[]
  name: string
}

async function answerSet(
  context: Context<ResolvedEvaluateOptions>,
  { read, dataset, tasks, name }: Asked,
): Promise<SetAnswers> {
  const { programs, maxNewTokens } = context.options
  const rows = tasks.map(({ row }) => row)
  const options = { ...taskOptions(context, name), rows, sentence: ASK_FOR_PROGRAM }
  const turns = programs ? await askingTurns(dataset, tasks, options) : undefined
  const answered = await answerTasks(context, read, tasks, turns)
  const { window, unended, texts } = answered.facts
  const share = (count: number) => `${count.toLocaleString('en')} of ${texts.toLocaleString('en')} answers`
  if (window > 0)
    tell(context, name, {
      code: 'window',
      message: `${share(window)} end where the model's window is full, or their prompt fills it`,
    })
  if (unended > 0)
    tell(context, name, {
      code: 'length',
      message: `${share(unended)} were not at an end after ${maxNewTokens} tokens`,
    })
  return answered
}

const textsOf = (tasks: readonly Task[], { answers }: SetAnswers) =>
  answers.map(({ text }, i) => ({ answer: text, reference: tasks[i].reference }))

interface Scoring {
  tasks: readonly Task[]
  answered: SetAnswers
  set: Measuring['set']
  instruments: Instruments
}

async function scoresOf(
  context: Context<ResolvedEvaluateOptions>,
  { tasks, answered, set, instruments }: Scoring,
): Promise<{ scores: Scores; perLabel?: LabelScores['perLabel'] }> {
  const { metrics } = context.options
  const rows = textsOf(tasks, answered)
  const scores = scoreAnswers(rows, metrics, set)
  let perLabel: LabelScores['perLabel'] | undefined
  const classes = metrics.filter((metric) => metric === 'accuracy' || metric === 'f1' || metric === 'mcc')
  if (classes.length > 0 && rows.length > 0) {
    const found = scoreLabels(rows)
    perLabel = found.perLabel
    const { accuracy: _, 'micro-f1': microF1, 'macro-f1': macroF1, mcc } = found.scores
    if (metrics.includes('f1')) Object.assign(scores.set, { 'micro-f1': microF1, 'macro-f1': macroF1 })
    if (metrics.includes('mcc')) scores.set.mcc = mcc
    const labels = Object.keys(perLabel).length
    if (labels > rows.length / 2 && rows.length > 2)
      tell(context, set.name, {
        code: 'labels',
        message: `${rows.length.toLocaleString('en')} rows have ${labels.toLocaleString('en')} different answers, which are hardly labels`,
      })
    if (found.none > 0)
      tell(context, set.name, {
        code: 'no-label',
        message: `${found.none.toLocaleString('en')} of ${rows.length.toLocaleString('en')} answers are none of the ${labels.toLocaleString('en')} labels, and wrong`,
      })
  }
  if (metrics.includes('exact-match')) {
    const missing = rows.length - extracted(rows).truths
    if (missing > 0)
      tell(context, set.name, {
        code: 'no-truth',
        message: `no answer is found in ${missing.toLocaleString('en')} of ${rows.length.toLocaleString('en')} references: these rows count as wrong`,
      })
  }
  if (metrics.includes('bert-score')) {
    const own = await bertScores(context, rows, instruments.encoder)
    scores.rows['bert-score'] = own
    scores.set['bert-score'] = meanOf(own)
  }
  return { scores, perLabel }
}

/** Puts what the model wrote into the lines. */
function fill(
  { options }: Context<ResolvedEvaluateOptions>,
  lines: AnswerLine[],
  tasks: readonly Task[],
  { answers }: SetAnswers,
): void {
  for (const [i, { text, tokens, ended, program }] of answers.entries()) {
    const line = lines[i]
    const { reference } = tasks[i]
    Object.assign(line, { answer: text, tokens, ended, ...(program && { program }), reference })
    if (options.metrics.includes('exact-match')) {
      line.extracted = extractAnswer(text) ?? null
      line.truth = extractAnswer(reference) ?? null
    }
    const right = line.scores['exact-match'] ?? line.scores.accuracy
    if (right != null) line.right = right === 100
  }
}
