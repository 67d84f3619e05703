/** Failures as a person reads them and as a program does. */

import { type Fault, WinnowError } from '../errors.ts'
import { pairs, plain, type Terminal, wrap } from './terminal.ts'
import { ISSUES } from './version.ts'

export type ExitCode = 0 | 1 | 2 | 130 | 143

/** The run was stopped by a signal; what was finished stays. */
export class Interrupted extends Error {
  override name = 'Interrupted'
  readonly signal: 'SIGINT' | 'SIGTERM'

  constructor(signal: 'SIGINT' | 'SIGTERM') {
    super(`stopped by ${signal}`)
    this.signal = signal
  }

  get exitCode(): 130 | 143 {
    return this.signal === 'SIGINT' ? 130 : 143
  }
}

/** 2 for wrong usage and bad input, 130 and 143 for signals, 1 for everything else. */
export function exitCodeOf(error: unknown): ExitCode {
  return error instanceof WinnowError || error instanceof Interrupted ? error.exitCode : 1
}

/** What `--json` prints: `{"error": …}`. Unforeseen errors have the code `unexpected`. */
export function faultOf(error: unknown): Fault & { stack?: string } {
  if (error instanceof WinnowError) return error.fault
  if (error instanceof Interrupted) {
    return {
      code: 'interrupted',
      message: error.message,
      hint: 'Run the same command again: it goes on where it stopped.',
    }
  }
  return {
    code: 'unexpected',
    message: error instanceof Error ? error.message : String(error),
    ...(error instanceof Error && error.stack !== undefined ? { stack: error.stack } : {}),
    hint: `This is a defect of winnow. Please report it: ${ISSUES}.`,
  }
}

/**
 * A failure for the terminal:
 *
 *     error: pool.jsonl:12: the response is empty
 *       at        answer
 *       found     nothing to train on
 *       expected  text in the response
 *     Remove the row, or leave such rows out with --on-bad-row skip.
 *
 * `stack`: with the stack of an unforeseen error.
 */
export function renderError(error: unknown, terminal: Terminal, options: { stack: boolean }): string {
  if (error instanceof Interrupted) return ''
  const { style } = terminal
  const fault = faultOf(error)
  const foreseen = error instanceof WinnowError
  const where = fault.file === undefined ? '' : `${fault.file}${fault.line === undefined ? '' : `:${fault.line}`}: `
  const head = `${style(['red', 'bold'], foreseen ? 'error:' : 'unexpected error:')} ${plain(where + fault.message)}\n`
  const details = [
    ['at', fault.path],
    ['found', fault.found],
    ['expected', fault.expected],
  ].flatMap(([name, value]) => (value === undefined ? [] : [[style('dim', name as string), plain(value)] as const]))
  const stack = options.stack && fault.stack !== undefined ? `${fault.stack.split('\n').slice(1).join('\n')}\n` : ''
  const how = foreseen || options.stack ? '' : ' Run it again with --verbose to see where it happened.'
  const hint = fault.hint === undefined ? '' : `${wrap(plain(fault.hint) + how, terminal.columns() - 1).join('\n')}\n`
  return head + (details.length === 0 ? '' : pairs(details)) + stack + hint
}
