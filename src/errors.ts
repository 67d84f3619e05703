/** Errors as data: every failure winnow foresees carries what is at fault, what was found and what to do. */

export interface Fault {
  /** Stable machine-readable name, kebab-case: `empty-file`, `unknown-field`, … */
  code: string
  /** What is wrong, starting with the thing at fault. No trailing full stop. */
  message: string
  /** Input file (or output file) concerned. */
  file?: string
  /** 1-based line in `file`, where lines make sense. */
  line?: number
  /** Field or option inside the row or configuration: `messages[2].content`, `--budget`. */
  path?: string
  found?: string
  expected?: string
  /** What the reader should do. */
  hint?: string
}

/**
 * A foreseen failure. `kind` decides the exit code of the command line: `usage` and `input` end with 2 (wrong usage or
 * bad input), `failure` with 1.
 */
export class WinnowError extends Error {
  override name = 'WinnowError'
  readonly kind: 'usage' | 'input' | 'failure'
  readonly fault: Fault

  constructor(kind: 'usage' | 'input' | 'failure', fault: Fault, options?: ErrorOptions) {
    super(formatFault(fault), options)
    this.kind = kind
    this.fault = fault
  }

  get exitCode(): 1 | 2 {
    return this.kind === 'failure' ? 1 : 2
  }
}

/** One fault as text: `file:line: message (path: found X, expected Y). Hint.` */
export function formatFault(fault: Fault): string {
  const where =
    fault.file === undefined ? '' : fault.line === undefined ? `${fault.file}: ` : `${fault.file}:${fault.line}: `
  const details = [
    fault.path === undefined ? undefined : `at ${fault.path}`,
    fault.found === undefined ? undefined : `found ${fault.found}`,
    fault.expected === undefined ? undefined : `expected ${fault.expected}`,
  ].filter((part) => part !== undefined)
  const detail = details.length === 0 ? '' : ` (${details.join(', ')})`
  return `${where}${fault.message}${detail}.${fault.hint === undefined ? '' : ` ${fault.hint}`}`
}
