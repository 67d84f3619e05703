/** The commands of `winnow`: parses, runs one, gives its exit code. */

import { Command, CommanderError } from 'commander'
import { WinnowError } from '../errors.ts'
import { addDoctor } from './doctor.ts'
import { addExplain } from './explain.ts'
import { type ExitCode, exitCodeOf, faultOf, renderError } from './fault.ts'
import { addMethods } from './methods.ts'
import { terminalOf, writeJson } from './terminal.ts'
import { version } from './version.ts'

/** Commander's complaint as one of ours: `error: unknown option '--bugdet'\n(Did you mean --budget?)`. */
function usageError(error: CommanderError): WinnowError {
  const [first, ...more] = error.message.replace(/^error: /, '').split('\n')
  const code = error.code.replace(/^commander\./, '').replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
  const command = process.argv[2] !== undefined && commands.includes(process.argv[2]) ? ` ${process.argv[2]}` : ''
  const suggestion = more.map((line) => line.replace(/^\((.*)\)$/, '$1')).join(' ')
  const hint = `${suggestion === '' ? '' : `${suggestion} `}\`winnow${command} --help\` lists what there is.`
  return new WinnowError('usage', { code, message: first.replace(/\.$/, ''), hint })
}

const commands = [
  ...['select', 'score', 'generate', 'evaluate', 'train', 'warmup', 'compare', 'analyse', 'ablate'],
  ...['explain', 'methods', 'doctor'],
]

/** Runs the command in `words`. Never throws: an error is printed and is an exit code. */
export async function runCommand(words: string[]): Promise<ExitCode> {
  let code: ExitCode = 0
  const program = new Command('winnow')
    .description('Picks the training examples worth fine-tuning a language model on.')
    .version(version, '-v, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .configureHelp({
      showGlobalOptions: false,
      helpWidth: Math.min(process.stdout.columns ?? 100, 120),
      optionDescription: ({ description }) => description,
    })
    .configureOutput({ outputError: () => {} })
    .exitOverride()
    .addHelpText(
      'after',
      '\nStart with:\n  winnow select pool.jsonl --budget 30%\n\n`winnow select --help` lists its options, and so for each command.',
    )
    .showSuggestionAfterError()
  await addSelect(program, words)
  await addScore(program, words)
  await addGenerate(program, words)
  await addEvaluate(program, words)
  await addTrain(program, words)
  await addWarmup(program, words)
  await addCompare(program, words)
  await addAnalyse(program, words)
  await addAblate(program, words)
  addExplain(program)
  addMethods(program)
  addDoctor(program, (ending) => {
    code = ending
  })
  try {
    await program.parseAsync(words, { from: 'user' })
    return code
  } catch (caught) {
    if (caught instanceof CommanderError && caught.exitCode === 0) return 0
    // `winnow` alone prints its help as an error.
    if (caught instanceof CommanderError && caught.code === 'commander.help') return 2
    const error = caught instanceof CommanderError ? usageError(caught) : caught
    const stack = words.includes('--verbose') || process.env.DEBUG !== undefined
    process.stderr.write(renderError(error, terminalOf(process.stderr), { stack }))
    if (words.includes('--json')) {
      const { stack: trace, ...fault } = faultOf(error)
      writeJson({ error: stack && trace !== undefined ? { ...fault, stack: trace } : fault })
    }
    return exitCodeOf(error)
  }
}

/** Adds `select`. Its options come from every method's schema, which take a while to load: only where they are asked for. */
async function addSelect(program: Command, words: readonly string[]): Promise<void> {
  const command = program.command('select').summary('pick the records of a pool worth training on')
  if (words.includes('select')) (await import('./select.ts')).defineSelect(command)
  else command.argument('[pool...]').option('--budget <amount>')
}

/** Adds `score`, whose options are defined where it is asked for. */
async function addScore(program: Command, words: readonly string[]): Promise<void> {
  const command = program.command('score').summary('the loss and perplexity of every record under a model')
  if (words.includes('score')) (await import('./score.ts')).defineScore(command)
  else command.argument('[pool...]')
}

/** Adds `generate`, whose options are defined where it is asked for. */
async function addGenerate(program: Command, words: readonly string[]): Promise<void> {
  const command = program.command('generate').summary('what a model writes to the prompts of a file')
  if (words.includes('generate')) (await import('./generate.ts')).defineGenerate(command)
  else command.argument('[pool...]')
}

/** Adds `evaluate`, whose options are defined where it is asked for. */
async function addEvaluate(program: Command, words: readonly string[]): Promise<void> {
  const command = program.command('evaluate').summary('what a model scores on test sets')
  if (words.includes('evaluate')) (await import('./evaluate.ts')).defineEvaluate(command)
  else command.argument('[test...]')
}

/** Adds `train`, whose options are defined where it is asked for. */
async function addTrain(program: Command, words: readonly string[]): Promise<void> {
  const command = program.command('train').summary('fine-tune a model on a file of records')
  if (words.includes('train')) (await import('./train.ts')).defineTrain(command)
  else command.argument('[records...]')
}

/** Adds `warmup`, whose options are defined where it is asked for. */
async function addWarmup(program: Command, words: readonly string[]): Promise<void> {
  const command = program.command('warmup').summary('fine-tune a model on a pick, then on a task')
  if (words.includes('warmup')) (await import('./warmup.ts')).defineWarmup(command)
}

/** Adds `compare`, whose options are defined where it is asked for. */
async function addCompare(program: Command, words: readonly string[]): Promise<void> {
  const command = program.command('compare').summary("what each method's pick is worth, against random")
  if (words.includes('compare')) (await import('./compare.ts')).defineCompare(command)
  else command.argument('[pool...]')
}

/** Adds `analyse`, whose options are defined where it is asked for. */
async function addAnalyse(program: Command, words: readonly string[]): Promise<void> {
  const command = program.command('analyse').summary('what the clusters, topics and gradients of a selection say')
  if (words.includes('analyse')) (await import('./analyse.ts')).defineAnalyse(command)
  else command.argument('[run]')
}

/** Adds `ablate`, whose options are defined where it is asked for. */
async function addAblate(program: Command, words: readonly string[]): Promise<void> {
  const command = program.command('ablate').summary('select in several ways and compare the picks')
  if (words.includes('ablate')) (await import('./ablate.ts')).defineAblate(command)
  else command.argument('[pool...]')
}
