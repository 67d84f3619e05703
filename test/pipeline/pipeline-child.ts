/** Runs a pipeline and kills its own process, as kill -9 does, at the asked event. Arguments: its name, JSON options, JSON `Stop`. */

import { watch } from 'node:fs'
import * as ort from 'onnxruntime-node'
import { compare } from '../../src/comparison/compare.ts'
import type { PipelineContext } from '../../src/pipeline/pool-options.ts'
import { score } from '../../src/pipeline/score.ts'
import { select } from '../../src/pipeline/select.ts'
import { train } from '../../src/pipeline/train.ts'
import { warmup } from '../../src/pipeline/warmup.ts'

const [command, asked, stopping] = process.argv.slice(2)
const options = JSON.parse(asked)
interface Stop {
  stage: string
  kind: string
  count: number
  /** Or: as soon as a file whose name ends so (a regular expression) appears in the run directory. */
  file?: string
}
const stop = stopping === undefined ? undefined : (JSON.parse(stopping) as Stop)
const { file } = stop ?? {}
if (file !== undefined)
  watch(options.run, { recursive: true, persistent: false }, (_, name) => {
    if (name !== null && new RegExp(`${file}$`).test(name)) process.kill(process.pid, 'SIGKILL')
  })
let seen = 0
const context: PipelineContext = {
  ort,
  onEvent: (event) => {
    if (stop === undefined || event.kind !== stop.kind || !('stage' in event) || event.stage !== stop.stage) return
    if (++seen === stop.count) process.kill(process.pid, 'SIGKILL')
  },
}
const commands: Record<string, (options: never, context: PipelineContext) => Promise<unknown>> = {
  ...{ select, score, train, warmup, compare },
}
await commands[command](options as never, context)
