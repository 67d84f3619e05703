/** `winnow select`: the main job. */

import type { Command } from 'commander'
import type { SelectOptions } from '../pipeline/options.ts'
import { endings } from './common-options.ts'
import { mergeOptions, readConfig } from './replay.ts'
import { type AskedOptions, addSelectOptions, checkOptions, optionsOf, type SelectFlags } from './select-options.ts'
import { renderPlan, renderSummary } from './summary.ts'
import { type Terminal, terminalOf, writeJson } from './terminal.ts'
import { commandLine, finish, work } from './work.ts'

const DESCRIPTION = `Picks the records of a pool worth fine-tuning a language model on, and writes them to a file of their own.

A pool is one or more files or globs: JSONL, JSON, CSV or Parquet (all but Parquet also .gz or .zst). Nothing is sent anywhere, and nothing is downloaded but models that --proxy and --embedding name. A killed or stopped run goes on where it stopped when the same command is given again.`

const EXAMPLES = `${endings('the selected records')}
Examples:
  winnow select pool.jsonl --budget 30%
  winnow select pool.jsonl --budget 30% --proxy EleutherAI/pythia-70m-deduped
  winnow select 'data/*.jsonl' --budget 2Mtok --out picked.jsonl --stratify source
  winnow select pool.parquet --method got-d --target task.jsonl --budget 50000
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

async function select(asked: AskedOptions, flags: SelectFlags, terminal: Terminal): Promise<void> {
  const { pool, budget, method, seed = 0 } = asked
  const inputs = pool.length === 1 ? pool[0] : `${pool.length} inputs`
  await work(
    {
      title: `${budget} of ${inputs} by ${method}, seed ${seed}`,
      device: asked.device ?? 'auto',
      run: async (device, context, progress) => {
        const options: SelectOptions = { ...asked, device }
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
        finish(result, { progress, terminal, json: flags.json, render: renderSummary })
      },
    },
    terminal,
  )
}
