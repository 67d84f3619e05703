/** `winnow methods`: what each selection method does, where it comes from and what it can be told. */

import type { Command } from 'commander'
import type { Reference } from '../methods/method.ts'
import type { OptionDescription } from '../methods/options.ts'
import { type Terminal, terminalOf, wrap, writeJson } from './terminal.ts'

export interface MethodDescription {
  name: string
  title: string
  summary: string
  reference?: Reference
  options: OptionDescription[]
}

/** Every method of the registry, as data. */
export async function describeMethods(): Promise<MethodDescription[]> {
  const [{ methods }, { describeOptions }] = await Promise.all([
    import('../methods/registry.ts'),
    import('../methods/options.ts'),
  ])
  return methods.map((method) => ({
    name: method.name,
    title: method.title,
    summary: method.summary,
    ...(method.reference ? { reference: method.reference } : {}),
    options: describeOptions(method),
  }))
}

/** The methods as a page of text, wrapped to the terminal. */
export function renderMethods(methods: readonly MethodDescription[], terminal: Terminal): string {
  const columns = Math.min(terminal.columns(), 120)
  const block = (text: string, indent: number) =>
    wrap(text, columns - indent)
      .map((line) => `${' '.repeat(indent)}${line}\n`)
      .join('')
  const first = Math.max(...methods.flatMap(({ options }) => options.map(({ flag }) => flag.length))) + 4
  return methods
    .map(({ name, title, summary, reference, options }) => {
      const head = `${terminal.style('bold', name)}  ${title}\n`
      const source =
        reference === undefined
          ? ''
          : block(`${reference.authors}: ${reference.title}. ${reference.venue}. ${reference.url}`, 2)
      const rows = options.map((option) => {
        const text = `${option.description} (default: ${option.default})`
        return `  ${option.flag.padEnd(first - 2)}${block(text, first).trimStart()}`
      })
      return `${head}${block(summary, 2)}${source}${rows.length === 0 ? '  No options.\n' : `\n${rows.join('')}`}`
    })
    .join('\n')
}

export function addMethods(program: Command): void {
  program
    .command('methods')
    .summary('list the selection methods, their papers and options')
    .description('Lists the selection methods, the papers that define them and their options with defaults.')
    .option('--json', 'one JSON object on standard output')
    .option('--verbose', 'show where an unexpected error came from')
    .action(async (options: { json?: boolean }) => {
      const methods = await describeMethods()
      if (options.json) return writeJson({ methods })
      const page = terminalOf(process.stdout)
      page.write(renderMethods(methods, page))
    })
}
