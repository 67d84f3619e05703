/** `winnow explain`: a row of a pool as winnow reads it, and with `--tokens` what a model is trained on. */

import { type Command, Option } from 'commander'
import { WinnowError } from '../errors.ts'
import type { Explanation, TokenPiece } from '../pipeline/explain.ts'
import type { ExplainedSelection } from '../pipeline/explained-selection.ts'
import { visibleText } from '../report/html.ts'
import { count, counted, percent } from './numbers.ts'
import { pairs, plain, type Terminal, terminalOf, wrap, writeJson } from './terminal.ts'
import { wholeNumber } from './whole-number.ts'

interface ExplainFlags {
  row?: number
  tokens?: boolean
  proxy?: string
  revision?: string
  offline?: boolean
  run?: string
  maxLength?: number
  fields?: string
  template?: string
  onBadRow?: 'stop' | 'skip'
  memoryLimit?: string
  json?: boolean
}

const DESCRIPTION = `Shows a row as winnow reads it: its file and line, its turns, and, where the pool's run directory holds a selection, whether it was picked and by what numbers. With --tokens, the tokens that a model gets and those of them that it is trained on.

The tokens are those of --proxy; without it, those of the pool's run directory, and where there is none, those that \`winnow select\` would make.`

const EXAMPLES = `
Examples:
  winnow explain pool.jsonl --row 12 --tokens
  winnow explain pool.jsonl --row 12 --tokens --proxy EleutherAI/pythia-70m-deduped
  winnow explain pool.jsonl --row 12 --tokens --proxy ./my-model --json`

/** Adds `explain` to the program. */
export function addExplain(program: Command): void {
  program
    .command('explain')
    .summary('show what becomes of a row: its turns, its tokens, what is trained')
    .description(DESCRIPTION)
    .argument('[pool...]', 'files and globs')
    .addHelpText('after', EXAMPLES)
    .addOption(new Option('--row <n>', 'row of the pool, from 0, as in selection.parquet').argParser(wholeNumber(0)))
    .option('--tokens', 'with its tokens')
    .option('--proxy <model>', 'nano, a model directory or a hub id, whose tokenizer to use (default: that of the run)')
    .option('--revision <name>', 'branch, tag or commit of a model of the hub (default: main)')
    .option('--offline', 'ask no hub: use what is in the cache')
    .option('--run <directory>', 'run whose tokenizer to use (default: the pool with .winnow in its name, here)')
    .addOption(
      new Option(
        '--max-length <tokens>',
        "where rows are cut (default: as in the run, else 512 or the model's positions)",
      ).argParser(wholeNumber(8)),
    )
    .option('--fields <map>', 'fields of a record, such as prompt=query,response=reply (default: detected)')
    .option('--template <text>', "the record as text, its fields in braces (default: the record's own format)")
    .addOption(
      new Option('--on-bad-row <stop|skip>', 'bad rows are not counted as rows (default: stop)').choices([
        'stop',
        'skip',
      ]),
    )
    .option('--memory-limit <size>', 'for reading Parquet, such as 2GB (default: 512MB)')
    .option('--json', 'one JSON object on standard output')
    .option('--verbose', 'show where an unexpected error came from')
    .action(async (pool: string[], flags: ExplainFlags) => {
      const { row } = flags
      if (pool.length === 0 || row === undefined) throw incomplete(pool)
      const { explainRow } = await import('../pipeline/explain.ts')
      const explanation = await explainRow({ ...flags, pool, row })
      const page = terminalOf(process.stdout)
      if (flags.json) writeJson(explanation)
      else page.write(renderExplanation(explanation, page))
    })
}

function incomplete(pool: string[]): WinnowError {
  return new WinnowError('usage', {
    code: pool.length === 0 ? 'no-inputs' : 'no-row',
    message: pool.length === 0 ? 'no pool was given' : 'which row to explain was not said',
    ...(pool.length === 0 ? {} : { path: '--row' }),
    expected: pool.length === 0 ? 'one or more files' : 'a row of the pool, from 0',
    hint: `For example: winnow explain ${pool.length === 0 ? 'pool.jsonl' : pool.join(' ')} --row 0 --tokens.`,
  })
}

const LAYOUTS = {
  markers: "winnow's own role markers",
  template: "the model's chat template",
  plain: 'plain text, turns a blank line apart',
}

/** A row for people: where it is, its turns, its tokens. */
export function renderExplanation(explanation: Explanation, terminal: Terminal): string {
  const { row, file, line, source, format, turns, selection, tokens } = explanation
  const head = terminal.style('bold', plain(`row ${row}: ${file}:${line}`))
  const facts: [string, string][] = [
    ['format', format],
    ...(source === undefined ? [] : [['source', plain(source)] as [string, string]]),
    ...(selection === undefined ? [] : selectionFacts(selection, tokens !== undefined)),
  ]
  if (tokens === undefined) return `${head}\n${pairs(facts)}${turns.map((turn) => shownTurn(turn, terminal)).join('')}`
  const { tokenizer, kept, maxLength } = tokens
  const from = {
    run: `of the run ${tokenizer.name}`,
    pool: 'trained on the pool just now',
    model: `of ${tokenizer.name}`,
  }
  const cut = tokens.count > maxLength
  facts.push(
    [
      'turns',
      turns
        .map(
          ({ role, content, trained }) =>
            `${role} (${counted(content.length, 'character')}${trained ? ', trained' : ''})`,
        )
        .join(', '),
    ],
    ['tokenizer', `${plain(from[tokenizer.kind])}: ${count(tokenizer.vocabularySize)} ids`],
    ['written by', LAYOUTS[tokenizer.layout]],
    ['tokens', `${count(tokens.count)}, ${count(tokens.trained)} of them trained${share(tokens)}`],
    ['cut', cut ? `at ${count(maxLength)}, leaving ${count(kept.trained)} trained` : `no: at most ${count(maxLength)}`],
  )
  return `${head}\n${pairs(facts)}\n${shownPieces(tokens.pieces, terminal)}\n${legend(terminal, cut)}`
}

/** Whether the run picked the row, and its columns: a line for each, but for the numbers of tokens where those are shown anyway. */
function selectionFacts(
  { run, method, budget, selected, columns }: ExplainedSelection,
  withTokens: boolean,
): [string, string][] {
  const shown = (value: ExplainedSelection['columns'][string]) =>
    value === null
      ? 'none'
      : typeof value === 'number'
        ? Number.isInteger(value)
          ? count(value)
          : value.toPrecision(5)
        : plain(String(value))
  return [
    ['selection', `${selected ? 'picked' : 'not picked'} by ${plain(method)} for ${plain(budget)}, in ${plain(run)}`],
    ...Object.entries(columns)
      .filter(([name]) => !withTokens || !name.endsWith('tokens'))
      .map(([name, value]) => [plain(name), shown(value)] as [string, string]),
  ]
}

const share = ({ count, trained }: { count: number; trained: number }) =>
  count === 0 ? '' : ` (${percent(trained / count)})`

function shownTurn({ role, content, trained }: Explanation['turns'][number], terminal: Terminal): string {
  const text = visibleText(content)
    .split('\n')
    .map((line) => `  ${line}\n`)
    .join('')
  return `\n${terminal.style('bold', role)}${trained ? ' (trained)' : ''}\n${text}`
}

const coloured = (terminal: Terminal) => terminal.style('green', '-') !== '-'

/** The tokens between bars. Trained ones are in colour, or in brackets where there are no colours; cut ones behind a line. */
function shownPieces(pieces: readonly TokenPiece[], terminal: Terminal): string {
  const colours = coloured(terminal)
  const bar = colours ? terminal.style('dim', '|') : '|'
  let text = ''
  for (const [i, piece] of pieces.entries()) {
    const before = pieces[i - 1]
    const after = pieces[i + 1]
    if (piece.cut && !before?.cut)
      text += `${text === '' || text.endsWith('\n') ? '' : '\n'}${terminal.style('red', CUT)}\n`
    const shown = shownText(piece.text, terminal)
    const styled = shown
      .split('\n')
      .map((line) =>
        colours && line !== '' ? terminal.style(piece.trained ? ['green', 'underline'] : 'dim', line) : line,
      )
      .join('\n')
    const opens = !colours && piece.trained && (!before?.trained || before.cut !== piece.cut)
    const closes = !colours && piece.trained && (!after?.trained || after.cut !== piece.cut)
    // A bracket or the end of a line parts two tokens as well as a bar.
    const parted = text === '' || text.endsWith('\n') || opens || (!colours && before?.trained && !piece.trained)
    text += `${parted ? '' : bar}${opens ? '[' : ''}${styled}${closes ? ']' : ''}`
  }
  return text === '' || text.endsWith('\n') ? text : `${text}\n`
}

const CUT = '--- cut here: what follows is never seen ---'

/** A token's text with its white space to be seen and nothing that a terminal would obey. */
function shownText(text: string, terminal: Terminal): string {
  const [space, tab, line] = terminal.unicode ? ['·', '→', '↵\n'] : ['_', '\\t', '\\n\n']
  return visibleText(text.replaceAll('\r', '␍')).replaceAll(' ', space).replaceAll('\t', tab).replaceAll('\n', line)
}

function legend(terminal: Terminal, cut: boolean): string {
  const [space, tab, line] = terminal.unicode ? ['·', '→', '↵'] : ['_', '\\t', '\\n']
  const trained = coloured(terminal) ? terminal.style(['green', 'underline'], 'trained') : '[trained]'
  const words = `Bars part tokens; ${trained}; ${space} space, ${line} line feed, ${tab} tab.${cut ? ' --max-length says where rows are cut.' : ''}`
  return `${wrap(words, Math.min(100, terminal.columns() - 1)).join('\n')}\n`
}
