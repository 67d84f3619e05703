/** Answers that a trained target writes to test prompts, and what they score. */

import type { Turn } from '../dataset/record.ts'
import { WinnowError } from '../errors.ts'
import { extractAnswer, needsProgram, programSource, sameAnswer } from '../evaluation/answers.ts'
import { sentenceBleu } from '../evaluation/bleu.ts'
import type { ComparisonMetric, MetricName } from '../evaluation/comparison.ts'
import { rougeL } from '../evaluation/rouge.ts'
import { compileGenerator } from '../generation/generator.ts'
import { promptTokens } from '../generation/prompts.ts'
import type { Context } from '../pipeline/context.ts'
import type { Json } from '../runs/hash.ts'
import { openProgramRunner, type ProgramRunner } from '../sandbox/program.ts'
import { mergeLora } from '../training/lora.ts'
import type { Answerer } from './cells.ts'
import type { ResolvedCompareOptions } from './options.ts'
import type { TargetModel } from './target-model.ts'
import type { Test } from './tests.ts'

/** Every metric, as tables name it. */
export const METRIC_FACTS: Record<MetricName, Omit<ComparisonMetric, 'name'>> = {
  nll: { title: 'test loss', unit: 'nats a token', better: 'lower' },
  'exact-match': { title: 'exact match', unit: '%', better: 'higher' },
  'rouge-l': { title: 'ROUGE-L', unit: '%', better: 'higher' },
  bleu: { title: 'sentence BLEU', unit: '%', better: 'higher' },
  'bert-score': { title: 'BERTScore', unit: '%', better: 'higher' },
  accuracy: { title: 'accuracy', unit: '%', better: 'higher' },
}

/** What MAmmoTH's protocol adds to a question in its first pass (METHODS 4). */
const ASK_FOR_PROGRAM = " Let's write a program."

/** Score of one answer against the reference, in percent. */
const SCORES: Partial<Record<MetricName, (answer: string, reference: string) => number>> = {
  'exact-match': (answer, reference) => {
    const [found, truth] = [extractAnswer(answer), extractAnswer(reference)]
    return found !== undefined && truth !== undefined && sameAnswer(found, truth) ? 100 : 0
  },
  'rouge-l': (answer, reference) => 100 * rougeL(answer, reference).fmeasure,
  bleu: (answer, reference) => sentenceBleu(answer, [reference]).score,
  accuracy: (answer, reference) => (answer.trim() === reference.trim() ? 100 : 0),
}

/** Texts of the asked test rows: the turns before the response, and the response. */
interface Task {
  turns: readonly Turn[]
  reference: string
}

export interface OpenedAnswerer extends Answerer, AsyncDisposable {}

/**
 * Opens what generates and scores answers, where a metric asks for them: greedy, at most `maxNewTokens` tokens, one prompt for each test row in the
 * model's own template. With `programs`, the first pass asks for a program; an answer that prints is run in the sandbox and its output is the
 * answer; where it does not print, or fails, a second pass without that sentence gives the answer (MAmmoTH's protocol, METHODS 4).
 */
export async function maybeAnswerer(
  context: Context<ResolvedCompareOptions>,
  target: TargetModel,
): Promise<OpenedAnswerer | undefined> {
  const { metrics, maxNewTokens, programs } = context.options
  const wanted = metrics.filter((name) => name !== 'nll')
  if (wanted.length === 0) return undefined
  // Started by the first answer that prints.
  let runner: ProgramRunner | undefined
  const tasks = new Map<Test, Task[]>()
  const runProgram = async (text: string, signal?: AbortSignal) => {
    runner ??= await openProgramRunner()
    return (await runner.run(programSource(text), { signal })).output?.trim()
  }
  return {
    metrics: wanted,
    identity: { metrics: wanted, maxNewTokens, programs } as Json,
    async score(trainer, test, { signal }) {
      const { model, choices } = target.proxy
      const { tokenizer } = target.tokens
      const { parameters } = await trainer.state()
      const weights =
        choices.lora === undefined || target.pretrained === undefined
          ? parameters
          : mergeLora(model, await target.pretrained.weights(), parameters, choices.lora)
      const generator = await compileGenerator({ model, weights, device: context.device, maxLength: target.maxLength })
      try {
        if (!tasks.has(test)) tasks.set(test, await readTasks(test))
        const asked = tasks.get(test) as Task[]
        const stop = tokenizer.eosId === undefined ? [] : [tokenizer.eosId]
        const answer = async (prompts: readonly Uint32Array[]) => {
          const generated = await generator.generate({ prompts, maxNewTokens, stop, signal })
          return generated.map(({ tokens }) => tokenizer.decode(tokens))
        }
        const plain = () => Array.from(test.rows, (row) => promptTokens(test.tokens.store, row))
        const texts = programs ? await answerWithPrograms() : await answer(plain())
        const scores: Record<string, Float32Array> = {}
        for (const metric of wanted) {
          const score = SCORES[metric] as (answer: string, reference: string) => number
          scores[metric] = Float32Array.from(texts, (text, i) => score(text, asked[i].reference))
        }
        return scores

        async function answerWithPrograms(): Promise<string[]> {
          const first = await answer(asked.map(({ turns }) => promptOf(test, tokenizer, turns, ASK_FOR_PROGRAM)))
          const outputs: (string | undefined)[] = []
          for (const text of first) {
            const output = needsProgram(text) ? await runProgram(text, signal) : undefined
            outputs.push(output === undefined || output === '' ? undefined : `The answer is ${output}`)
          }
          const again = [...outputs.keys()].filter((i) => outputs[i] === undefined)
          const second = again.length === 0 ? [] : await answer(again.map((i) => plain()[i]))
          for (const [j, i] of again.entries()) outputs[i] = second[j]
          return outputs as string[]
        }
      } finally {
        await generator.release()
      }
    },
    [Symbol.asyncDispose]: async () => runner?.[Symbol.asyncDispose](),
  }
}

/** @throws {WinnowError} `no-response` where a test row has no response to compare with. */
async function readTasks({ dataset, rows, name }: Test): Promise<Task[]> {
  const wanted = new Set(rows)
  const tasks: Task[] = []
  for await (const { records } of dataset.batches())
    for (const { row, turns, file, line } of records) {
      if (!wanted.has(row)) continue
      const at = turns.findIndex(({ role }) => role === 'assistant')
      if (at < 0)
        throw new WinnowError('input', {
          code: 'no-response',
          message: `a row of the test set ${name} has no response that answers could be compared with`,
          file,
          line,
          expected: 'a prompt and a response',
          hint: 'Texts without responses can be scored by --metrics nll.',
        })
      tasks.push({ turns: turns.slice(0, at + 1), reference: turns[at].content })
    }
  return tasks
}

/** The prompt of these turns with a sentence behind the last question. */
function promptOf(
  { tokens: { tokenizer: own } }: Test,
  tokenizer: typeof own,
  turns: readonly Turn[],
  sentence: string,
): Uint32Array {
  const asking = turns.findLastIndex(({ role }) => role === 'user')
  const changed = turns.map((turn, i) => (i === asking ? { ...turn, content: turn.content + sentence } : turn))
  const row = tokenizer.encodeTurns(changed)
  return promptTokens({ count: 1, lengths: Uint32Array.of(row.length), labels: Uint32Array.of(0), read: () => row }, 0)
}
