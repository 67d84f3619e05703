/** The stage that generates: continuations of every prompt of a pool, resumable part by part. */

import { readFile } from 'node:fs/promises'
import { compileGenerator, type Generated } from '../generation/generator.ts'
import type { Answer } from '../generation/prompts.ts'
import { promptTokens } from '../generation/prompts.ts'
import type { OutputRecord } from '../runs/journal.ts'
import { TOKEN_MASK } from '../tokenizer/tokenizer.ts'
import type { TokenRows } from '../training/rows.ts'
import { type BaseOptions, type Context, perform } from './context.ts'
import type { Pretrained } from './pretrained.ts'

export interface GenerationOptions {
  maxNewTokens: number
  /** 0: greedy. */
  temperature: number
  topP: number
  topK?: number
  samples: number
  batch: number
}

/** Which answer of a conversation is generated. */
export const ANSWER: Answer = 'last'
/** Batches of a part: what a killed run computes again, at most. */
const BATCHES_PER_PART = 8

export interface GeneratedPart {
  /** Rows [from, to). */
  from: number
  to: number
  file: string
}

/** What a part's file holds of each text, row by row, sample by sample. */
export interface StoredText extends Omit<Generated, 'tokens'> {
  tokens: number[]
}

interface Generation {
  rows: TokenRows
  tokensHash: string
  pretrained: Pretrained
  ends: TextEnds
}

export type GenerationFacts = { texts: number; tokens: number; window: number; unended: number }

/** How a tokenizer begins a text and what ends one. */
export interface TextEnds {
  /** Tokens before a text's own. */
  prefix: Uint32Array
  /** Ids that end a text. */
  stop: readonly number[]
}

/** Whether a row is a text to be continued rather than a prompt with an answer: nothing of its own stands before what is trained. */
export function isContinued(rows: TokenRows, row: number, { prefix }: TextEnds): boolean {
  const prompt = promptTokens(rows, row, ANSWER)
  return prompt.length === prefix.length && prompt.every((token, i) => token === prefix[i])
}

/** The prompt of a row; of a text to be continued the text itself, without its end token. */
export function promptOf(rows: TokenRows, row: number, ends: TextEnds): Uint32Array {
  if (!isContinued(rows, row, ends)) return promptTokens(rows, row, ANSWER)
  const text = rows.read(row).map((token) => token & TOKEN_MASK)
  return ends.stop.includes(text[text.length - 1]) ? text.slice(0, -1) : text
}

/**
 * Runs the stage: texts of consecutive rows in a file each. Goes on after the last part that was finished. A row without tokens, which the chat
 * template refused, has no texts.
 */
export async function generateParts(
  context: Context<BaseOptions & GenerationOptions>,
  { rows, tokensHash, pretrained, ends }: Generation,
): Promise<{ parts: GeneratedPart[]; facts: GenerationFacts }> {
  const { options, device, run } = context
  const { maxNewTokens, temperature, topP, topK, samples, batch, seed } = options
  const maxLength = windowOf(context, rows, pretrained)
  const { stop } = ends
  const each = Math.max(1, Math.floor((BATCHES_PER_PART * batch) / samples))
  const files = (key: string): GeneratedPart[] =>
    Array.from({ length: Math.ceil(rows.count / each) }, (_, i) => ({
      from: i * each,
      to: Math.min(rows.count, (i + 1) * each),
      file: `generated/${key.slice(0, 12)}/rows-${String(i * each).padStart(9, '0')}.json`,
    }))
  const sampling = temperature === 0 ? undefined : { temperature, topP, topK, seed }
  const result = await perform(context, {
    name: 'generate',
    version: 1,
    inputs: { tokens: tokensHash, model: pretrained.hash },
    options: {
      ...{ maxLength, maxNewTokens, samples, stop, sampling: JSON.parse(JSON.stringify(sampling ?? null)), part: each },
      // On cpu texts do not depend on the batch; elsewhere they might.
      ...(device.name === 'cpu' ? {} : { batch }),
      ...{ device: device.name, precision: options.precision },
      onnxruntime: run.manifest.versions['onnxruntime-node'] ?? '',
    },
    async execute(work, progress) {
      const generator = await compileGenerator({
        ...{ model: pretrained.model, weights: await pretrained.weights(), device, maxLength },
        batch: Math.min(batch, Math.max(1, rows.count * samples)),
      })
      try {
        const outputs: OutputRecord[] = []
        const facts: GenerationFacts = { texts: 0, tokens: 0, window: 0, unended: 0 }
        let computed = 0
        const count = (texts: readonly StoredText[]) => {
          for (const { tokens, ended } of texts) {
            facts.texts++
            facts.tokens += tokens.length
            if (ended === 'window') facts.window++
            if (ended === 'length') facts.unended++
          }
        }
        for (const { from, to, file } of files(work.key)) {
          const kept = work.parts.find(({ part }) => part === file)?.outputs[0]
          if (kept?.intact) {
            outputs.push({ path: kept.path, size: kept.size, sha256: kept.sha256 })
            count(JSON.parse(await readFile(work.path(file), 'utf8')))
            continue
          }
          const numbers = Array.from({ length: to - from }, (_, i) => from + i).filter((row) => rows.lengths[row] > 0)
          const texts: StoredText[] = []
          // Randomness goes by the row's number, whatever rows have no prompt: runs of neighbours are generated together.
          for (const [first, last] of neighbours(numbers)) {
            const prompts = Array.from({ length: last - first }, (_, i) => promptOf(rows, first + i, ends))
            const found = await generator.generate({
              ...{ prompts, maxNewTokens, stop, sampling, samples, first, signal: context.signal },
              onProgress: ({ done, total, tokens }) =>
                progress({
                  fraction: (first + ((last - first) * done) / total) / rows.count,
                  done: computed + tokens,
                  unit: 'tokens',
                }),
            })
            for (const { prompt, tokens, ...rest } of found) {
              texts.push({ ...rest, prompt: first + prompt, tokens: [...tokens] })
              computed += tokens.length
            }
          }
          count(texts)
          const output = await work.write(file, `${JSON.stringify(texts)}\n`)
          await work.finishPart(file, [output])
          outputs.push(output)
        }
        return { outputs, value: facts }
      } finally {
        await generator.release()
      }
    },
    summary: ({ texts, tokens }) => `${tokens.toLocaleString('en')} tokens in ${texts.toLocaleString('en')} texts`,
  })
  return { parts: files(result.key), facts: result.value }
}

/** Tokens of prompt and continuation together: what was asked for, else what the longest row needs, at most what the model has positions for. */
function windowOf(
  { options }: Context<BaseOptions & GenerationOptions>,
  rows: TokenRows,
  { model }: Pretrained,
): number {
  if (options.maxLengthAsked) return options.maxLength
  const longest = rows.lengths.reduce((most, length) => Math.max(most, length), 1)
  return Math.min(model.maxLength, longest + options.maxNewTokens)
}

/** Ascending numbers as stretches, half-open. */
function neighbours(numbers: readonly number[]): [first: number, last: number][] {
  const stretches: [number, number][] = []
  for (const number of numbers) {
    const open = stretches.at(-1)
    if (open?.[1] === number) open[1] = number + 1
    else stretches.push([number, number + 1])
  }
  return stretches
}
