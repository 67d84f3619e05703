/** A peer program that stays up and answers one line of JSON with one line of JSON, so that a benchmark can alternate with it. */

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export interface Peer {
  /** What the peer said when it was ready: versions, warm-up results. */
  // biome-ignore lint/suspicious/noExplicitAny: a peer's answer is its own
  ready: any
  // biome-ignore lint/suspicious/noExplicitAny: a peer's answer is its own
  ask(request: object): Promise<any>
  end(): void
}

/** Starts bench/peers/`script` with `spec` as its argument and waits for its ready line. Its stderr is shown when it ends early. */
export async function startPeer(python: string, script: string, spec: object): Promise<Peer> {
  const child = spawn(python, ['-B', join(import.meta.dirname, script), JSON.stringify(spec)])
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  let complaints = ''
  child.stderr.on('data', (chunk) => {
    complaints = (complaints + chunk).slice(-4000)
  })
  child.on('error', (error) => {
    complaints += error.message
  })
  const answer = async () => {
    const line = await lines.next()
    if (line.done) throw new Error(`${script} ended early:\n${complaints}`)
    return JSON.parse(line.value)
  }
  const ready = await answer()
  return {
    ready,
    ask: (request) => {
      child.stdin.write(JSON.stringify(request) + '\n')
      return answer()
    },
    end: () => child.stdin.end(),
  }
}
