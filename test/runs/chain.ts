/**
 * Three stages with parts, as a pipeline would run them. As a program, `chain.ts <directory> <n>` ends itself with
 * SIGKILL at its n-th step: between and inside writes, before and after each record. Without <n> it runs to the end, or
 * to a fault, which it prints.
 */

import { WinnowError } from '../../src/errors.ts'
import { openRun } from '../../src/runs/directory.ts'
import { runStage } from '../../src/runs/stage.ts'

export const CHECKPOINTS = 3

const column = (seed: number, length: number) =>
  Uint8Array.from({ length }, (_, index) => (Math.imul(index + 1, 2654435761) ^ Math.imul(seed + 7, 40503)) >>> 24)

export async function runChain(directory: string, step: (point: string) => void, options = { take: 2 }) {
  await using run = await openRun(directory, { config: { take: options.take }, seeds: { run: 1 }, versions: {} })
  step('opened')
  const executed: string[] = []
  const tokens = await runStage(run, {
    name: 'tokens',
    version: 1,
    inputs: { pool: 'abc' },
    options: null,
    execute: async (work) => {
      executed.push('tokens')
      await using file = await work.create('tokens.bin')
      for (let chunk = 0; chunk < 3; chunk++) {
        await file.write(new Uint8Array(1 << 20).fill(chunk + 1))
        step(`tokens: chunk ${chunk} written`)
      }
      const record = { path: 'tokens.bin', ...(await file.commit()) }
      step('tokens: in place, not recorded')
      return { outputs: [record], value: { tokens: 3 << 20 } }
    },
  })
  step('tokens done')
  const trajectories = await runStage(run, {
    name: 'trajectories',
    version: 1,
    inputs: { tokens: tokens.hash },
    options: { checkpoints: CHECKPOINTS },
    execute: async (work) => {
      const outputs = []
      let state = 0
      let next = 0
      for (const part of work.parts) {
        if (Number(part.part) !== next || !part.outputs.every((output) => output.intact)) break
        outputs.push(part.outputs[0])
        state = (part.value as { state: number }).state
        next++
      }
      for (let index = next; index < CHECKPOINTS; index++) {
        executed.push(`trajectories ${index}`)
        // Each checkpoint depends on the state the one before left: a resumed run must not start over or skip.
        state = state * 31 + index + 1
        const losses = await work.write(`signals/loss.${index}.bin`, column(state, 5000))
        step(`checkpoint ${index}: losses written`)
        const weights = await work.write(`checkpoints/state.${index}.bin`, column(-state, 5000))
        step(`checkpoint ${index}: state written`)
        await work.finishPart(String(index), [losses, weights], { state })
        step(`checkpoint ${index}: recorded`)
        outputs.push(losses)
      }
      return { outputs, value: { state } }
    },
  })
  step('trajectories done')
  const selection = await runStage(run, {
    name: 'selection',
    version: 1,
    inputs: { trajectories: trajectories.hash },
    options: { take: options.take },
    execute: async (work) => {
      executed.push('selection')
      const record = await work.write('selection.bin', column(trajectories.value.state, options.take))
      step('selection: written')
      return { outputs: [record], value: null }
    },
  })
  await run.update({ status: 'done' })
  step('finished')
  return { executed, recovered: run.recovered, results: { tokens, trajectories, selection } }
}

if (process.argv[1] === import.meta.filename) {
  let steps = 0
  await runChain(process.argv[2], () => {
    if (String(steps++) === process.argv[3]) process.kill(process.pid, 'SIGKILL')
  }).catch((error) => {
    if (!(error instanceof WinnowError)) throw error
    console.log(error.fault.code)
  })
}
