/** Runs `select` and kills its own process, as kill -9 does, at the asked event. Arguments: JSON options, JSON { stage, at, count }. */

import { watch } from 'node:fs'
import * as ort from 'onnxruntime-node'
import { select } from '../../src/pipeline/select.ts'

const options = JSON.parse(process.argv[2])
interface Stop {
  stage: string
  kind: string
  count: number
  /** Or: as soon as a file whose name ends so appears in the run directory. */
  file?: string
}
const stop = process.argv[3] === undefined ? undefined : (JSON.parse(process.argv[3]) as Stop)
const { file } = stop ?? {}
if (file !== undefined)
  watch(options.run, { recursive: true }, (_, name) => {
    if (name?.endsWith(file)) process.kill(process.pid, 'SIGKILL')
  })
let seen = 0
await select(options, {
  ort,
  onEvent: (event) => {
    if (stop === undefined || event.kind !== stop.kind || !('stage' in event) || event.stage !== stop.stage) return
    if (++seen === stop.count) process.kill(process.pid, 'SIGKILL')
  },
})
