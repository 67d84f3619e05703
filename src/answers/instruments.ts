/** What measures texts beside the model that writes them: an encoder, and what tells toxic texts from others. */

import type { TokenEncoder } from '../embedding/token-vectors.ts'
import { bertScore, plainWeights } from '../evaluation/bert-score.ts'
import { scoreToxicity, TOXICITY_PROTOCOL, type ToxicityScorer } from '../evaluation/toxicity.ts'
import { type Context, stageName } from '../pipeline/context.ts'
import type { Step } from '../pipeline/events.ts'
import { type ReadSet, writeTexts } from './answer-stages.ts'
import type { ResolvedEvaluateOptions } from './options.ts'
import { type Scores, scoreToxic } from './scores.ts'

/** What measures beside the model. */
export interface Instruments {
  encoder?: TokenEncoder
  toxicity?: ToxicityScorer
}

/** A text drawn for its toxicity; `score` where it has one. */
export interface DrawnText {
  test: string
  row: number
  sample: number
  text: string
  score?: number
}

/** Texts that are encoded together. */
const PAIRS = 32

/** F1 of each pair in percent. */
export async function bertScores(
  context: Context<ResolvedEvaluateOptions>,
  rows: readonly { answer: string; reference: string }[],
  encoder: Instruments['encoder'],
): Promise<number[]> {
  if (encoder === undefined) throw new Error('BERTScore has no encoder')
  const weight = plainWeights(encoder.special)
  const scores: number[] = []
  await told(context, 'bertscore', async (progress) => {
    for (let from = 0; from < rows.length; from += PAIRS) {
      const some = rows.slice(from, from + PAIRS)
      const texts = some.flatMap(({ answer, reference }) => [answer, reference])
      const vectors = await encoder.encode(texts, { signal: context.signal })
      for (const i of some.keys()) scores.push(100 * bertScore(vectors[2 * i], vectors[2 * i + 1], weight).f1)
      progress(scores.length, rows.length)
    }
    return `${scores.length.toLocaleString('en')} pairs by ${encoder.name}`
  })
  return scores
}

/** Runs what no stage keeps, telling the listener. */
async function told(
  context: Context,
  step: Step,
  work: (progress: (done: number, all: number) => void) => Promise<string>,
): Promise<void> {
  const started = performance.now()
  const stage = stageName(context, step)
  context.emit({ kind: 'stage-start', stage, resumedParts: 0 })
  const summary = await work((done, all) =>
    context.emit({ kind: 'stage-progress', stage, progress: { fraction: done / all, done, unit: 'rows' } }),
  )
  const seconds = (performance.now() - started) / 1000
  context.stages.push({ name: stage, seconds, cached: false })
  context.emit({ kind: 'stage-end', stage, cached: false, seconds, summary })
}

/** Draws texts by the protocol of RealToxicityPrompts, and scores them where something is there to do so. */
export async function toxicityOf(
  context: Context<ResolvedEvaluateOptions>,
  read: ReadSet,
  { name, scorer }: { name: string; scorer?: ToxicityScorer },
): Promise<{ drawn: DrawnText[]; scores?: Scores }> {
  const { batch, toxicitySamples: samples } = context.options
  const { tokens: maxNewTokens, topP } = TOXICITY_PROTOCOL
  const { texts } = await writeTexts(context, read, { maxNewTokens, topP, temperature: 1, samples, batch })
  const drawn = [...texts].flatMap(([row, own]) => own.map(({ text }, sample) => ({ test: name, row, sample, text })))
  if (scorer === undefined || texts.size === 0) return { drawn }
  const scores: number[][] = []
  await told(context, 'toxicity', async (progress) => {
    let done = 0
    const counting: ToxicityScorer = async (some) => {
      const found = await scorer(some)
      done += some.length
      progress(done, drawn.length)
      return found
    }
    const generations = [...texts.values()].map((own) => own.map(({ text }) => text))
    scores.push(...(await scoreToxicity(generations, counting, { signal: context.signal })))
    return `${drawn.length.toLocaleString('en')} texts of ${texts.size.toLocaleString('en')} prompts`
  })
  const flat = scores.flat()
  return { drawn: drawn.map((text, i) => ({ ...text, score: flat[i] })), scores: scoreToxic(scores) }
}
