/** `winnow warmup`: fine-tunes a model on a pick and then on a task. */

import type { Command } from 'commander'
import type { SavedFormat } from '../models/float-formats.ts'
import type { WarmupPlanResult, WarmupResult, WarmupStageResult } from '../pipeline/warmup.ts'
import type { WarmupEstimate } from '../pipeline/warmup-estimate.ts'
import {
  type Add,
  adder,
  addHub,
  addMachine,
  addPasses,
  addWindow,
  type CommonFlags,
  commonOf,
  endings,
  rate,
} from './common-options.ts'
import { bytes, count, counted, duration, nats, scaled } from './numbers.ts'
import { shownPath } from './summary.ts'
import { pairs, type Terminal, terminalOf, writeJson } from './terminal.ts'
import { wholeNumber } from './whole-number.ts'
import { commandLine, finish, work } from './work.ts'

interface WarmupFlags extends Omit<CommonFlags, 'proxy' | 'fields' | 'template' | 'epochs' | 'learningRate'> {
  model?: string
  poolPick?: string[]
  pickFields?: string
  pickTemplate?: string
  pickEpochs?: number
  pickLearningRate?: number
  task?: string[]
  taskFields?: string
  taskTemplate?: string
  taskEpochs?: number
  taskLearningRate?: number
  out?: string
  checkpoints?: number
  saveAs?: keyof typeof FORMATS
  planOnly?: boolean
  dryRun?: boolean
}

const FORMATS = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' } as const satisfies Record<string, SavedFormat>

const DESCRIPTION = `Fine-tunes a language model in the two stages of GOT-D: first on the pick of a pool, as plain text whose every token carries loss, then on the records of a task, of which only responses carry loss. Keeps both models in the Hugging Face layout, and a plan with recipes for other trainers.

A killed or stopped run goes on from its last checkpoint, to the same models, when the same command is given again. Another task, or other options of the second stage, take the first from the run directory.`

const EXAMPLES = `${endings('the model tuned on the task')}
Examples:
  winnow warmup --model HuggingFaceTB/SmolLM2-135M --pool-pick pool.selected.jsonl --task task.jsonl
  winnow warmup --model ./my-model --pool-pick pick.jsonl --task task.jsonl --lora 16 --task-epochs 5
  winnow warmup --model ./my-model --pool-pick pick.jsonl --task task.jsonl --plan-only`

/** Fills in the command: its description, options and action. */
export function defineWarmup(command: Command): void {
  command.description(DESCRIPTION).addHelpText('after', EXAMPLES)
  const add = adder(command)
  const what = 'What to train:'
  add(what, '--model <model>', 'a hub id, or a directory in the Hugging Face layout')
  addHub(add, what)
  add(what, '--seed <n>', 'of every random choice (default: 0)', wholeNumber(0))
  addStage(add, 'pick', { heading: 'First stage, on the pick:', flag: '--pool-pick', epochs: 1 })
  addStage(add, 'task', { heading: 'Second stage, on the task:', flag: '--task', epochs: 3 })
  addPasses(add, 'Both stages:')
  addWindow(add, 'Reading:')
  const writing = 'Writing:'
  add(
    writing,
    '-o, --out <directory>',
    'gets warmup/, task/ and plan/ (default: the pick with .warmup in its name, here)',
  )
  add(writing, '--save-as <type>', 'of the saved weights: float32, float16 or bfloat16 (default: float32)').choices(
    Object.keys(FORMATS),
  )
  add(writing, '--checkpoints <n>', 'states kept along the way in each stage (default: 10)', wholeNumber(1))
  add(writing, '--run <directory>', 'checkpoints, losses (default: the pick with .warmup.winnow in its name, here)')
  add(writing, '--plan-only', 'write the plan for another trainer and train nothing')
  add(writing, '--dry-run', 'say what both stages would cost; write nothing')
  add(writing, '--overwrite', 'replace models and a plan that are there')
  add(writing, '--json', 'one JSON object on standard output')
  add(writing, '--verbose', 'show where an unexpected error came from')
  addMachine(add)
  command.action(act)
}

function addStage(
  add: Add,
  section: 'pick' | 'task',
  { heading, flag, epochs }: { heading: string; flag: string; epochs: number },
): void {
  add(heading, `${flag} <files...>`, 'files and globs')
  add(heading, `--${section}-fields <map>`, 'fields of a record, such as text=abstract (default: detected)')
  add(
    heading,
    `--${section}-template <text>`,
    "the record as text, its fields in braces (default: the record's own format)",
  )
  add(heading, `--${section}-epochs <n>`, `passes over the rows (default: ${epochs})`, wholeNumber(1))
  add(heading, `--${section}-learning-rate <rate>`, 'peak of a cosine schedule (default: 2e-5, with --lora 2e-4)', rate)
}

async function act(flags: WarmupFlags): Promise<void> {
  const { model, out, checkpoints, saveAs, planOnly, dryRun } = flags
  const { fields: _fields, template: _template, proxy: _proxy, ...common } = commonOf(flags)
  const asked = {
    ...common,
    model,
    pick: {
      files: flags.poolPick ?? [],
      ...{ fields: flags.pickFields, template: flags.pickTemplate },
      ...{ epochs: flags.pickEpochs, learningRate: flags.pickLearningRate },
    },
    task: {
      files: flags.task ?? [],
      ...{ fields: flags.taskFields, template: flags.taskTemplate },
      ...{ epochs: flags.taskEpochs, learningRate: flags.taskLearningRate },
    },
    ...{ out, checkpoints, saveAs: saveAs && FORMATS[saveAs], command: commandLine() },
  }
  const { exportWarmup, warmup } = await import('../pipeline/warmup.ts')
  const { resolveWarmupOptions } = await import('../pipeline/warmup-options.ts')
  // Wrong usage before a device is looked for; whether that has the precision is known afterwards.
  const { proxy } = resolveWarmupOptions({ ...asked, precision: undefined })
  const terminal = terminalOf(process.stderr)
  await work(
    {
      title: `${planOnly || dryRun ? 'plan of a warm-up' : 'warm-up'} of ${proxy} on ${asked.pick.files.join(' ')}, then ${asked.task.files.join(' ')}`,
      device: flags.device ?? 'auto',
      run: async (device, context, progress) => {
        if (dryRun) {
          const { estimateWarmup } = await import('../pipeline/warmup-estimate.ts')
          const estimate = await estimateWarmup({ ...asked, device }, context)
          progress.close()
          terminal.write(renderEstimate(estimate, terminal))
          if (flags.json) writeJson(estimate)
          return
        }
        const ending = { progress, terminal, json: flags.json }
        if (planOnly) finish(await exportWarmup({ ...asked, device }, context), { ...ending, render: renderPlanned })
        else finish(await warmup({ ...asked, device }, context), { ...ending, render })
      },
    },
    terminal,
  )
}

const stageFacts = (stage: WarmupStageResult, terminal: Terminal): [string, string][] => {
  const { rows, trainedRows, cutRows, processed, epochs, steps, loss, out, adapters, curve } = stage
  const facts: [string, string][] = [
    ['  rows', `${counted(trainedRows, 'row')}, ${counted(epochs, 'epoch')}, ${counted(steps, 'step')}`],
    ['  tokens', `${count(processed)} processed`],
    ['  loss', `${nats(loss.first)} → ${nats(loss.last)} nats a token (first and last tenth of the steps, as trained)`],
    ['  model', `${terminal.style('bold', shownPath(out.path))} (${bytes(out.bytes)})`],
  ]
  if (adapters) facts.push(['  adapters', shownPath(adapters)])
  facts.push(['  curve', shownPath(curve)])
  const left = [
    ...(trainedRows < rows
      ? [`${counted(rows - trainedRows, 'row')} left out without a trained token in the window`]
      : []),
    ...(cutRows > 0 ? [`${counted(cutRows, 'row')} cut to the window`] : []),
  ]
  if (left.length > 0) facts.push(['  note', left.join(', ')])
  return facts
}

function render(result: WarmupResult, terminal: Terminal): string {
  const { pick, task, plan, model, seconds, device } = result
  const head = `Warmed up ${scaled(model.trained)} parameters on ${counted(pick.trainedRows, 'row')}, then tuned them on ${count(task.trainedRows)} of the task.`
  const facts: [string, string][] = [
    ['warm-up', 'whole records of the pick, every token'],
    ...stageFacts(pick, terminal),
    ['task', 'responses of the task'],
    ...stageFacts(task, terminal),
    ['plan', `${shownPath(plan.path)}, for other trainers`],
    ['time', `${duration(seconds)} on ${device}`],
  ]
  const scored = (path: string) => `winnow score held-out.jsonl --proxy ${shownPath(path)}`
  const next = `Next: compare both on records that neither was trained on:\n  ${scored(pick.out.path)}\n  ${scored(task.out.path)}\n`
  return `\n${terminal.style('bold', head)}\n\n${pairs(facts)}\n${next}`
}

function renderPlanned({ pick, task, plan, seconds }: WarmupPlanResult, terminal: Terminal): string {
  const line = ({ trainedRows, tokens, trainedTokens, epochs, steps }: typeof pick) =>
    `${counted(trainedRows, 'row')}, ${count(trainedTokens)} of ${count(tokens)} tokens carry loss, ${counted(epochs, 'epoch')}, ${counted(steps, 'step')}`
  const facts: [string, string][] = [
    ['warm-up', line(pick)],
    ['task', line(task)],
    ['plan', terminal.style('bold', shownPath(plan.path))],
    ['beside it', plan.files.filter((name) => name !== 'plan.json').join(', ')],
    ['time', duration(seconds)],
  ]
  return `\n${terminal.style('bold', 'Planned two stages; nothing was trained.')}\n\n${pairs(facts)}\n`
}

function renderEstimate(estimate: WarmupEstimate, terminal: Terminal): string {
  const { model, pick, task, flops, diskBytes, secondsTotal, device, run, out } = estimate
  const line = ({ rows, tokens, epochs, steps, seconds }: typeof pick) =>
    `${counted(rows, 'row')}, ${tokens.exact ? '' : 'about '}${count(tokens.count)} tokens, ${counted(epochs, 'epoch')}, ${counted(steps, 'step')}, ${duration(seconds)}`
  const trained = model.trained === model.parameters ? '' : `, ${scaled(model.trained)} of adapters trained`
  const facts: [string, string][] = [
    ['model', `${model.name}, ${scaled(model.parameters)} parameters${trained}`],
    ['warm-up', line(pick)],
    ['task', line(task)],
    [
      'memory',
      `at least ${bytes(Math.max(pick.memoryBytes, task.memoryBytes))} to train: weights, gradients, moments, activations`,
    ],
    ['work', `${scaled(flops, 'FLOP')} of training`],
    ['disk', `${bytes(diskBytes)} in ${shownPath(run)} and ${shownPath(out.path)}`],
    ['time', `about ${duration(secondsTotal)} on ${device}`],
  ]
  return `\n${terminal.style('bold', 'Plan')} (nothing was written)\n\n${pairs(facts)}`
}
