/** What a process writes, as frames. */

import type { ChildProcess } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'

export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
}

/** The frames that a process writes, one after another; undefined where it ended, or announced more than `limit` bytes. */
export function frameReader(child: ChildProcess & { stdin: Writable; stdout: Readable; stderr: Readable }) {
  let pending: Buffer[] = []
  let length = 0
  let complaint = ''
  let asked: { limit: number; resolve: (frame: Uint8Array | undefined) => void } | undefined
  let over = false
  const answer = (frame: Uint8Array | undefined) => {
    const { resolve } = asked ?? {}
    asked = undefined
    resolve?.(frame)
  }
  const look = () => {
    if (asked === undefined) return
    if (length >= 4) {
      if (pending[0].length < 4) pending = [Buffer.concat(pending)]
      const announced = pending[0].readUInt32LE(0)
      if (announced > asked.limit) {
        child.kill('SIGKILL')
        return answer(undefined)
      }
      if (length >= 4 + announced) {
        const all = Buffer.concat(pending)
        pending = [all.subarray(4 + announced)]
        length -= 4 + announced
        return answer(Uint8Array.from(all.subarray(4, 4 + announced)))
      }
    }
    if (over) answer(undefined)
  }
  child.stdout.on('data', (bytes: Buffer) => {
    // Nothing is asked for that is longer than a snapshot; a process that goes on writing is no interpreter of ours.
    if (length > 2 ** 28) return void child.kill('SIGKILL')
    pending.push(bytes)
    length += bytes.length
    look()
  })
  child.stderr.on('data', (bytes: Buffer) => {
    if (complaint.length < 10_000) complaint += bytes
  })
  child.stdin.on('error', () => {})
  const exit = new Promise<Exit>((resolve) => {
    const end = (code: number | null, signal: NodeJS.Signals | null) => {
      over = true
      resolve({ code, signal })
      look()
    }
    child.on('error', (error) => {
      complaint += error.message
      end(null, null)
    })
    child.on('close', end)
  })
  return {
    next: (limit: number) =>
      new Promise<Uint8Array | undefined>((resolve) => {
        asked = { limit, resolve }
        look()
      }),
    exit,
    complaint: () => complaint,
  }
}
