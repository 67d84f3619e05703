/** Answers by programs, as MAmmoTH's protocol has them (Yue et al. 2023; METHODS 4). */

import { needsProgram, programSource } from '../evaluation/answers.ts'
import { openProgramRunner, type ProgramResult, type ProgramRunner } from '../sandbox/program.ts'

/** What the first pass has behind the question. */
export const ASK_FOR_PROGRAM = " Let's write a program."

export interface Answered {
  text: string
  /** Where the first pass wrote one: its text, and what came of it. */
  program?: { text: string } & ProgramResult
}

export interface Passes {
  /** The first pass: what the model writes to each question with `ASK_FOR_PROGRAM` behind it. */
  ask(): Promise<string[]>
  /** What comes of each text; undefined of one without a program. */
  run(texts: readonly string[]): Promise<(ProgramResult | undefined)[]>
  /** The second pass: what it writes to these questions without that sentence. */
  answer(questions: readonly number[]): Promise<string[]>
}

/**
 * An answer with `print(` is a program; what it printed is the answer, `The answer is …`. Where it printed nothing, or there is no program, a second pass
 * answers.
 */
export async function answerByPrograms({ ask, run, answer }: Passes): Promise<Answered[]> {
  const first = await ask()
  const results = await run(first)
  const answers = results.map((result, i): Answered => {
    const output = result?.output?.trim()
    return {
      text: output === undefined || output === '' ? '' : `The answer is ${output}`,
      ...(result && { program: { text: first[i], ...result } }),
    }
  })
  const again = [...answers.keys()].filter((i) => answers[i].text === '')
  const second = again.length === 0 ? [] : await answer(again)
  for (const [j, i] of again.entries()) answers[i] = { ...answers[i], text: second[j] }
  return answers
}

export interface Programs extends AsyncDisposable {
  /** What comes of a text: undefined of one without a program. */
  run(text: string, signal?: AbortSignal): Promise<ProgramResult | undefined>
}

/** The sandbox, started by the first text that prints. `seconds`: of a program, by the clock. Default 5. */
export function openPrograms({ seconds }: { seconds?: number } = {}): Programs {
  let runner: ProgramRunner | undefined
  return {
    async run(text, signal) {
      if (!needsProgram(text)) return undefined
      runner ??= await openProgramRunner({ seconds })
      return runner.run(programSource(text), { signal })
    },
    [Symbol.asyncDispose]: async () => runner?.[Symbol.asyncDispose](),
  }
}
