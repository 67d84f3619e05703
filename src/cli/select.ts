/** `winnow select`: the main job. */

import type { Command } from 'commander'
import type { SelectContext, SelectOptions } from '../pipeline/options.ts'
import { chooseDevice, driverEnvironment } from './device.ts'
import { Interrupted } from './fault.ts'
import { listenForInterrupts } from './interrupt.ts'
import { createProgress } from './progress.ts'
import { mergeOptions, readConfig } from './replay.ts'
import { type AskedOptions, addSelectOptions, checkOptions, optionsOf, type SelectFlags } from './select-options.ts'
import { renderPlan, renderSummary } from './summary.ts'
import { plain, type Terminal, terminalOf, wrap, writeData, writeJson } from './terminal.ts'
import { version } from './version.ts'

const DESCRIPTION = `Picks the records of a pool worth fine-tuning a language model on, and writes them to a file of their own.

A pool is one or more files or globs: JSONL, JSON, CSV or Parquet (all but Parquet also .gz or .zst). Nothing is downloaded, nothing is sent anywhere. A killed or stopped run goes on where it stopped when the same command is given again.`

const EXAMPLES = `
Standard error gets progress and the summary. Standard output gets data only: with --json one JSON object, for
errors too ({"error": …}); else the path of the selected records, unless it is a terminal.
Exit codes: 0 done, 1 failed, 2 wrong usage or bad input, 130 stopped by Ctrl-C.

Examples:
  winnow select pool.jsonl --budget 30%
  winnow select 'data/*.jsonl' --budget 2Mtok --out picked.jsonl --stratify source
  winnow select --config pool.winnow/manifest.json --seed 1 --out again.jsonl`

/** Fills in the command: its description, options and action. */
export function defineSelect(command: Command): void {
  command.description(DESCRIPTION).argument('[pool...]', 'files and globs').addHelpText('after', EXAMPLES)
  addSelectOptions(command)
  command.action(async (pool: string[], flags: SelectFlags) => {
    const given = optionsOf(pool, flags)
    const merged = flags.config === undefined ? given : mergeOptions(await readConfig(flags.config), given)
    await select({ ...checkOptions(merged), command: commandLine() }, flags, terminalOf(process.stderr))
  })
}

/** The command as typed, quoted for a shell. */
function commandLine(): string {
  const quote = (word: string) => (/^[\w./%,=:@+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)
  return ['winnow', ...process.argv.slice(2).map(quote)].join(' ')
}

async function select(asked: AskedOptions, flags: SelectFlags, terminal: Terminal): Promise<void> {
  const { pool, budget, method, seed = 0 } = asked
  const inputs = pool.length === 1 ? pool[0] : `${pool.length} inputs`
  // First of all a sign of life: what comes next loads native code and may try a GPU.
  terminal.write(`winnow ${version}: ${plain(`${budget} of ${inputs} by ${method}`)}, seed ${seed}\n`)

  using interruption = listenForInterrupts(() => {
    progress.print('Stopping after the step at hand; again to stop at once.')
  })
  const progress = createProgress({ terminal })
  try {
    const device = await chooseDevice(asked.device ?? 'auto')
    progress.print(`device ${device.name} (${device.why})`)
    if (device.name === 'webgpu') Object.assign(process.env, driverEnvironment())
    const options: SelectOptions = { ...asked, device: device.name }
    const context: SelectContext = {
      ort: await import('onnxruntime-node'),
      onEvent: progress.onEvent,
      signal: interruption.signal,
    }
    interruption.signal.throwIfAborted()

    if (flags.dryRun) {
      const { planSelect } = await import('../pipeline/plan.ts')
      const plan = await planSelect(options, context)
      progress.close()
      terminal.write(renderPlan(plan, terminal))
      if (flags.json) writeJson(plan)
      return
    }
    const { select: run } = await import('../pipeline/select.ts')
    const result = await run(options, context)
    const told = new Set(progress.notices.map(({ message }) => message))
    for (const { message } of result.notices) {
      if (!told.has(message)) progress.print(`${terminal.style('yellow', 'note:')} ${plain(message)}`)
    }
    progress.close()
    terminal.write(renderSummary(result, terminal))
    if (flags.json) writeJson(result)
    else if (process.stdout.isTTY !== true) writeData(result.out.path)
  } catch (error) {
    progress.close()
    if (!interruption.signal.aborted) throw error
    // Whatever an aborted step threw, the reason is the signal.
    const kept = 'Stopped. What was finished is kept: run the same command again and it goes on from there.'
    terminal.write(`${wrap(kept, terminal.columns() - 1).join('\n')}\n`)
    throw interruption.signal.reason instanceof Interrupted ? interruption.signal.reason : error
  }
}
