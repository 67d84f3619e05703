/** `evaluate`: one model on one or several test sets. */

import { type Dataset, openDataset } from '../dataset/dataset.ts'
import { inspectInput } from '../dataset/inputs.ts'
import { checkOutput } from '../dataset/output.ts'
import { openTextClassifier } from '../embedding/classifier.ts'
import { openTokenEncoder } from '../embedding/token-vectors.ts'
import { WinnowError } from '../errors.ts'
import { classifierToxicity, type ToxicityScorer } from '../evaluation/toxicity.ts'
import { toxicityFile } from '../evaluation/toxicity-file.ts'
import { endTokens, textPrefix } from '../generation/prompts.ts'
import type { Notice } from '../methods/method.ts'
import { type Context, ending, notify, openContext, type StageTime } from '../pipeline/context.ts'
import { isOwnRun } from '../pipeline/earlier-run.ts'
import type { StageName } from '../pipeline/events.ts'
import type { PipelineContext } from '../pipeline/pool-options.ts'
import { maybePretrained, type Pretrained, withModel } from '../pipeline/pretrained.ts'
import { isRun } from '../runs/directory.ts'
import type { Json } from '../runs/hash.ts'
import { type Difference, differences } from './against.ts'
import type { DrawnText, Instruments } from './instruments.ts'
import { type AnswerLine, readLines, type ScoredLine, writeLines } from './lines.ts'
import { type MeasuredSet, measureSet } from './measure.ts'
import { readsAnswers, SCORES_OF, type ScoreName } from './metrics.ts'
import {
  type EvaluateOptions,
  evaluateConfig,
  isAnswersFile,
  type ResolvedEvaluateOptions,
  resolveEvaluateOptions,
} from './options.ts'
import { type Average, averages } from './scores.ts'

export interface EvaluateResult {
  model: { name: string; revision?: string }
  tests: MeasuredSet[]
  /** Of each group of test sets, and of all where there are several. */
  averages: Average[]
  /** In the order of tables. */
  scores: ScoreName[]
  /** Of BERTScore, and of the toxicity where it is told by a classifier or a file. */
  encoder?: string
  toxicityBy?: string
  /** This model minus another on the same rows. */
  against?: { name: string; differences: Difference[]; answers: string }
  /** JSON Lines, one a row. */
  out: { path: string; bytes: number; sha256: string }
  /** JSON Lines of the texts whose toxicity was asked for. */
  generations?: string
  run: string
  notices: Notice[]
  device: string
  seconds: number
  stages: StageTime[]
}

/**
 * Measures a pretrained model on test sets: the loss of their responses, what its greedy answers score, the toxicity of what is drawn from their prompts.
 * Prompts are written as in training (chat template, plain text or `template`) and never cut; of a conversation the last answer is asked for. With `programs`,
 * MAmmoTH's protocol (Yue et al. 2023): a first pass asks for a program, which runs in the sandbox, a second one answers what that left open.
 * Writes a line of JSON for each row. With `against`, another model's scores of the same rows are subtracted and the differences bootstrapped.
 *
 * Goes on after the last part that was finished. On cpu the same options give the same bytes, whatever the batch and the threads; of programs as far as they
 * do not run out of time.
 *
 * @throws {WinnowError} of bad usage, bad input and failures, as data; `signal.reason` when aborted.
 */
export async function evaluate(asked: EvaluateOptions, pipeline: PipelineContext): Promise<EvaluateResult> {
  const started = performance.now()
  const { onEvent = () => {}, signal } = pipeline
  const resolved = resolveEvaluateOptions(asked)
  const datasets = await openSets(resolved)
  const { against } = resolved
  // What can be wrong with files, before anything is downloaded.
  const other = against !== undefined && isAnswersFile(against) ? await readLines(against) : undefined
  const fileScorer = resolved.toxicityScores === undefined ? undefined : await toxicityFile(resolved.toxicityScores)
  if (!(await isRun(resolved.run))) await checkOut(resolved, datasets)
  await using pretrained = (await maybePretrained(resolved, { onEvent, signal })) as Pretrained
  const { maxLengthAsked, ...options } = withModel(resolved, pretrained)
  await checkOut(options, datasets)
  await using instruments = await openInstruments(options, fileScorer ?? asked.toxicityScorer, signal)
  const context = await openContext({ ...options, maxLengthAsked }, evaluateConfig(options), pipeline)
  await using run = context.run
  try {
    onEvent({ kind: 'plan', stages: plannedStages(options, instruments) })
    const { config, generationConfig } = pretrained.files
    const stop = endTokens(pretrained.tokenizer, generationConfig?.eos_token_id, config.eos_token_id)
    const ends = { prefix: textPrefix(pretrained.tokenizer), stop }
    const tests: MeasuredSet[] = []
    const lines: AnswerLine[] = []
    const drawn: DrawnText[] = []
    for (const [i, set] of options.tests.entries()) {
      const section: Context<ResolvedEvaluateOptions> = { ...context, section: `test${i + 1}` }
      const measured = await measureSet(section, { set, dataset: datasets[i], pretrained, ends, ...instruments })
      tests.push(measured.set)
      for (const line of measured.lines) lines.push(line)
      for (const text of measured.drawn) drawn.push(text)
    }
    const generations = drawn.length === 0 ? undefined : generationsOf(options.out)
    if (generations !== undefined) await writeLines(generations, drawn)
    if (generations !== undefined && instruments.toxicity === undefined)
      notify(context, {
        code: 'no-scorer',
        message: `nothing was named that tells toxic texts: score those of ${generations}, and give --toxicity-scores a file with 'text' and 'score'`,
      })
    const record = await writeLines(
      options.out,
      lines.map(({ scores, ...line }) => ({ ...line, scores })),
    )
    await run.update({
      status: 'done',
      counts: { rows: lines.length },
      facts: {
        model: { source: pretrained.files.source, hash: pretrained.hash } as unknown as Json,
        scores: JSON.parse(JSON.stringify(tests)) as Json,
        output: { path: options.out, ...record },
      },
    })
    const compared = against && (await compareTo(against, { asked, options, lines, other, pipeline }))
    return {
      model: { name: pretrained.name, revision: pretrained.files.source.revision },
      tests,
      averages: averages(tests),
      scores: options.metrics.flatMap((metric) => SCORES_OF[metric]),
      ...(options.metrics.includes('bert-score') && { encoder: options.bertEncoder }),
      ...(options.metrics.includes('toxicity') && { toxicityBy: options.toxicityClassifier ?? options.toxicityScores }),
      ...(compared && { against: compared }),
      out: { path: options.out, bytes: record.size, sha256: record.sha256 },
      ...(generations !== undefined && { generations }),
      ...ending(context, started),
    }
  } catch (error) {
    await run.update({ status: 'failed' }).catch(() => undefined)
    throw error
  }
}

interface Other {
  asked: EvaluateOptions
  options: Omit<ResolvedEvaluateOptions, 'maxLengthAsked'>
  lines: readonly AnswerLine[]
  /** Of a file. */
  other?: readonly ScoredLine[]
  pipeline: PipelineContext
}

/** The differences to another evaluation: read, or made in a run directory within this one. */
async function compareTo(
  against: string,
  { asked, options, lines, other, pipeline }: Other,
): Promise<NonNullable<EvaluateResult['against']>> {
  const { seed, out, run } = options
  if (other !== undefined)
    return { name: against, differences: differences(lines, other, { seed, name: against }), answers: against }
  const evaluated = await evaluate(
    {
      ...asked,
      ...{ model: against, revision: undefined, against: undefined, overwrite: options.overwrite },
      ...{ out: out.replace(/\.\w+$/, '.against.jsonl'), run: `${run}/against` },
    },
    pipeline,
  )
  const theirs = await readLines(evaluated.out.path)
  return {
    name: evaluated.model.name,
    differences: differences(lines, theirs, { seed, name: against }),
    answers: evaluated.out.path,
  }
}

/** @throws {WinnowError} as `openDataset`. */
async function openSets(options: ResolvedEvaluateOptions): Promise<Dataset[]> {
  const { tests, fields, template, onBadRow, memoryLimit } = options
  const opened: Dataset[] = []
  for (const { file } of tests) opened.push(await openDataset([file], { fields, template, onBadRow, memoryLimit }))
  return opened
}

/** What the metrics need beside the model. `scorer`: of toxicity, where it is there already. */
async function openInstruments(
  options: Omit<ResolvedEvaluateOptions, 'maxLengthAsked'>,
  scorer: ToxicityScorer | undefined,
  signal?: AbortSignal,
): Promise<Instruments & AsyncDisposable> {
  const { metrics, offline, threads, bertEncoder, toxicityClassifier, toxicityLabel } = options
  const shared = { offline: offline || undefined, threads: Math.min(threads, 16), signal }
  const opened: AsyncDisposable[] = []
  const release = async () => {
    for (const one of opened.toReversed()) await one[Symbol.asyncDispose]()
  }
  const instruments: Instruments = {}
  try {
    if (metrics.includes('bert-score')) {
      instruments.encoder = await openTokenEncoder({ ...shared, model: bertEncoder as string })
      opened.push(instruments.encoder)
    }
    if (metrics.includes('toxicity')) {
      instruments.toxicity = scorer
      if (toxicityClassifier !== undefined) {
        const classifier = await openTextClassifier({ ...shared, model: toxicityClassifier })
        opened.push(classifier)
        instruments.toxicity = classifierToxicity(classifier, toxicityLabel)
      }
    }
  } catch (error) {
    await release()
    throw error
  }
  return { ...instruments, [Symbol.asyncDispose]: release }
}

function plannedStages(
  { tests, metrics, programs }: Omit<ResolvedEvaluateOptions, 'maxLengthAsked'>,
  { toxicity }: Instruments,
): StageName[] {
  return tests.flatMap((_, i) => {
    const answers = metrics.some(readsAnswers)
    const steps = [
      ...(['read', 'tokens'] as const),
      ...(metrics.includes('nll') ? (['score'] as const) : []),
      ...(answers || metrics.includes('toxicity') ? (['generate'] as const) : []),
      ...(answers && programs ? (['programs'] as const) : []),
      ...(metrics.includes('bert-score') ? (['bertscore'] as const) : []),
      ...(metrics.includes('toxicity') && toxicity ? (['toxicity'] as const) : []),
    ]
    return steps.map((step): StageName => `test${i + 1}-${step}`)
  })
}

const generationsOf = (out: string) => out.replace(/\.\w+$/, '.generations.jsonl')

/** Only JSON Lines are written. A file of that name is replaced only by the run that wrote it, or where asked to. */
async function checkOut(
  options: Omit<ResolvedEvaluateOptions, 'maxLengthAsked'>,
  datasets: readonly Dataset[],
): Promise<void> {
  const { out, overwrite, run, against, metrics } = options
  if (!/\.(jsonl|ndjson)$/i.test(out))
    throw new WinnowError('usage', {
      code: 'unknown-output',
      message: 'answers are written as JSON Lines',
      path: '--out',
      found: out,
      expected: 'a name that ends with .jsonl',
    })
  const inputs = datasets.flatMap((dataset) => dataset.inputs.filter(({ kind }) => kind === 'jsonl'))
  const compared = against !== undefined && isAnswersFile(against) ? [await inspectInput(against)] : []
  await checkOutput(out, {
    overwrite: overwrite || (await isOwnRun(run, evaluateConfig(options), { output: out, file: out })),
    inputs: [...inputs, ...compared],
  })
  if (metrics.includes('toxicity'))
    await checkOutput(generationsOf(out), {
      overwrite: overwrite || (await isOwnRun(run, evaluateConfig(options), { output: out })),
      inputs,
    })
}
