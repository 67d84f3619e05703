/** Who wrote a lock or a temporary file, and whether that process still runs. */

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'

export interface ProcessIdentity {
  /** Short hash of the host's name: a pid means something on its own host only. */
  host: string
  pid: number
  /** Short hash of the boot and the start time: a pid is used again after its process ends. Empty where unknown. */
  start: string
}

const short = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 12)

const host = short(hostname())

/** When the process of this pid started, hashed; undefined if there is no such process, '' where the system hides it. */
function processStart(pid: number): string | undefined {
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: it runs, as somebody else.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return undefined
  }
  if (process.platform === 'linux') {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
      // The name in parentheses may hold spaces and parentheses; the fields after it are plain (proc(5)).
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      // A killed process that its parent has not waited for writes no more.
      if (fields[0] === 'Z' || fields[0] === 'X') return undefined
      const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
      return short(`${boot} ${fields[19]}`)
    } catch {
      return ''
    }
  }
  if (process.platform === 'win32') return ''
  try {
    const started = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
    return started === '' ? undefined : short(started)
  } catch {
    return ''
  }
}

let own: ProcessIdentity | undefined

/** This process. */
export function ownProcess(): ProcessIdentity {
  own ??= { host, pid: process.pid, start: processStart(process.pid) ?? '' }
  return own
}

/** Whether the process still runs: `unknown` for another host's. */
export function processState(identity: ProcessIdentity): 'running' | 'ended' | 'unknown' {
  if (identity.host !== host) return 'unknown'
  const start = processStart(identity.pid)
  if (start === undefined) return 'ended'
  if (start === '' || identity.start === '') return 'running'
  return start === identity.start ? 'running' : 'ended'
}
