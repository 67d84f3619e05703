/** Answers that a trained target writes to test prompts, and what they score. */

import { ANSWER_SCORES } from '../answers/metrics.ts'
import { ASK_FOR_PROGRAM, answerByPrograms, openPrograms } from '../answers/programs.ts'
import { askingTurns, readTasks, type Task } from '../answers/tasks.ts'
import type { Turn } from '../dataset/record.ts'
import { compileGenerator, DEFAULT_BATCH } from '../generation/generator.ts'
import { endTokens, promptTokens } from '../generation/prompts.ts'
import type { Context } from '../pipeline/context.ts'
import type { Json } from '../runs/hash.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import type { Answerer } from './cells.ts'
import type { ResolvedCompareOptions } from './options.ts'
import { type TargetModel, targetWeights } from './target-model.ts'
import type { Test } from './tests.ts'

export interface OpenedAnswerer extends Answerer, AsyncDisposable {
  /** Reads the tasks of a test set. @throws {WinnowError} where a row has none. */
  check(test: Test): Promise<void>
}

/** Texts of the asked test rows, and where programs are asked for the turns of the first pass. */
interface Asked {
  tasks: Task[]
  asking: (readonly Turn[])[]
}

/**
 * Opens what generates and scores answers, where a metric asks for them: greedy, at most `maxNewTokens` tokens, one prompt for each test row in the
 * model's own template. With `programs`, the first pass asks for a program and the second answers what that left open (`answerByPrograms`).
 */
export async function maybeAnswerer(
  context: Context<ResolvedCompareOptions>,
  target: TargetModel,
): Promise<OpenedAnswerer | undefined> {
  const { metrics, maxNewTokens, programs } = context.options
  const wanted = metrics.filter((name) => name !== 'nll')
  if (wanted.length === 0) return undefined
  const { config, generationConfig } = target.pretrained?.files ?? {}
  const stop = endTokens(target.tokens.tokenizer, generationConfig?.eos_token_id, config?.eos_token_id)
  const sandbox = openPrograms()
  const known = new Map<Test, Asked>()
  const askedOf = async (test: Test, signal?: AbortSignal): Promise<Asked> => {
    const options = { name: test.name, rows: test.rows, answer: 'first', signal } as const
    const tasks = await readTasks(test.dataset, options)
    const asking = programs ? await askingTurns(test.dataset, tasks, { ...options, sentence: ASK_FOR_PROGRAM }) : []
    return { tasks, asking }
  }
  return {
    metrics: wanted,
    identity: { metrics: wanted, maxNewTokens, programs, stop } as Json,
    async check(test) {
      known.set(test, await askedOf(test, context.signal))
    },
    async score(trainer, test, { signal }) {
      const { model } = target.proxy
      const { tokenizer } = target.tokens
      const weights = await targetWeights(target, (await trainer.state()).parameters)
      const generator = await compileGenerator({
        ...{ model, weights, device: context.device, maxLength: target.maxLength },
        batch: Math.min(DEFAULT_BATCH, test.rows.length),
      })
      try {
        const { tasks, asking } = known.get(test) ?? (await askedOf(test, signal))
        known.set(test, { tasks, asking })
        const write = async (prompts: readonly Uint32Array[]) => {
          const generated = await generator.generate({ prompts, maxNewTokens, stop, signal })
          return generated.map(({ tokens }) => tokenizer.decode(tokens))
        }
        const plain = (questions: Iterable<number>) =>
          Array.from(questions, (i) => promptTokens(test.tokens.store, test.rows[i]))
        const texts = programs
          ? await answerByPrograms({
              ask: () => write(asking.map((turns) => promptOf(tokenizer, turns))),
              run: async (first) => {
                const results = []
                for (const text of first) results.push(await sandbox.run(text, signal))
                return results
              },
              answer: (questions) => write(plain(questions)),
            }).then((answers) => answers.map(({ text }) => text))
          : await write(plain(tasks.keys()))
        const scores: Record<string, Float32Array> = {}
        for (const metric of wanted) {
          const score = ANSWER_SCORES[metric] as (answer: string, reference: string) => number
          scores[metric] = Float32Array.from(texts, (text, i) => score(text, tasks[i].reference))
        }
        return scores
      } finally {
        await generator.release()
      }
    },
    [Symbol.asyncDispose]: () => sandbox[Symbol.asyncDispose](),
  }
}

/** What stands before the answer. */
function promptOf(tokenizer: Tokenizer, turns: readonly Turn[]): Uint32Array {
  const row = tokenizer.encodeTurns(turns)
  return promptTokens({ count: 1, lengths: Uint32Array.of(row.length), labels: Uint32Array.of(0), read: () => row }, 0)
}
