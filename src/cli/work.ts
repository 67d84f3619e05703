/** What commands that run a pipeline have in common: the device, progress, and stopping in good order. */

import type { DeviceName } from '../engine/session.ts'
import type { PipelineContext } from '../pipeline/pool-options.ts'
import { chooseDevice, driverEnvironment } from './device.ts'
import { Interrupted } from './fault.ts'
import { listenForInterrupts } from './interrupt.ts'
import { createProgress, type Progress } from './progress.ts'
import { plain, type Terminal, wrap, writeData, writeJson } from './terminal.ts'
import { version } from './version.ts'

export interface Work<R> {
  /** What will be done, in a few words. */
  title: string
  device: DeviceName | 'auto'
  run(device: DeviceName, context: PipelineContext, progress: Progress): Promise<R>
}

/** The command as typed, quoted for a shell. */
export function commandLine(): string {
  const quote = (word: string) => (/^[\w./%,=:@+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)
  return ['winnow', ...process.argv.slice(2).map(quote)].join(' ')
}

/** Runs a pipeline with progress on the terminal. An interrupt stops it after the step at hand and is thrown as `Interrupted`. */
export async function work<R>({ title, device: asked, run }: Work<R>, terminal: Terminal): Promise<R> {
  // First of all a sign of life: what comes next loads native code and may try a GPU.
  terminal.write(`winnow ${version}: ${plain(title)}\n`)
  using interruption = listenForInterrupts(() => {
    progress.print('Stopping after the step at hand; again to stop at once.')
  })
  const progress = createProgress({ terminal })
  try {
    const device = await chooseDevice(asked)
    progress.print(`device ${device.name} (${device.why})`)
    if (device.name === 'webgpu') Object.assign(process.env, driverEnvironment())
    const ort = await import('onnxruntime-node')
    interruption.signal.throwIfAborted()
    return await run(device.name, { ort, onEvent: progress.onEvent, signal: interruption.signal }, progress)
  } catch (error) {
    progress.close()
    if (!interruption.signal.aborted) throw error
    // Whatever an aborted step threw, the reason is the signal.
    const kept = 'Stopped. What was finished is kept: run the same command again and it goes on from there.'
    terminal.write(`${wrap(kept, terminal.columns() - 1).join('\n')}\n`)
    throw interruption.signal.reason instanceof Interrupted ? interruption.signal.reason : error
  }
}

interface Finished {
  notices: readonly { message: string }[]
  out: { path: string }
}

interface Ending<R> {
  progress: Progress
  terminal: Terminal
  /** One JSON object on standard output, in the place of the output's path. */
  json?: boolean
  render(result: R, terminal: Terminal): string
}

/** The end of a command: notices that progress has not shown, the summary for people, and standard output for programs. */
export function finish<R extends Finished>(result: R, { progress, terminal, json, render }: Ending<R>): void {
  const told = new Set(progress.notices.map(({ message }) => message))
  for (const { message } of result.notices) {
    if (!told.has(message)) progress.print(`${terminal.style('yellow', 'note:')} ${plain(message)}`)
  }
  progress.close()
  terminal.write(render(result, terminal))
  if (json) writeJson(result)
  else if (process.stdout.isTTY !== true) writeData(result.out.path)
}
