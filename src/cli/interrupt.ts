/** SIGINT and SIGTERM: the first asks the work to stop, the second ends the process at once. */

import { Interrupted } from './fault.ts'

/** A parent (npm) forwards the terminal's own SIGINT: what comes within this time is the same key stroke, milliseconds. */
const SAME_STROKE = 500

export interface Interruption extends Disposable {
  readonly signal: AbortSignal
}

/** Listens until disposed. `onStop` runs at the first signal; the abort reason is `Interrupted`. */
export function listenForInterrupts(onStop: () => void): Interruption {
  const controller = new AbortController()
  let stoppedAt = 0
  const handle = (name: 'SIGINT' | 'SIGTERM') => {
    if (!controller.signal.aborted) {
      stoppedAt = performance.now()
      onStop()
      controller.abort(new Interrupted(name))
      return
    }
    if (performance.now() - stoppedAt < SAME_STROKE) return
    stop()
    // With no listener left the signal's own action ends the process, whatever its threads are doing.
    process.kill(process.pid, name)
  }
  const listeners = (['SIGINT', 'SIGTERM'] as const).map((name) => [name, () => handle(name)] as const)
  for (const [name, listener] of listeners) process.on(name, listener)
  const stop = () => {
    for (const [name, listener] of listeners) process.off(name, listener)
  }
  return { signal: controller.signal, [Symbol.dispose]: stop }
}
