/** What a run's selection says of one row. Reads only. */

import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { Database, literal } from '../dataset/parquet.ts'
import { readManifest } from '../runs/manifest.ts'

/** A row's line of `selection.parquet`, and what it was made by. */
export interface ExplainedSelection {
  /** Run directory. */
  run: string
  method: string
  budget: string
  selected: boolean
  /** The other columns: the method's own, tokens, first and last loss. Null where the row has no value. */
  columns: Record<string, number | string | boolean | null>
}

/**
 * The line of a row in the run's selection; undefined where there is no run, no selection in it, or one of another pool (its files are told by
 * their sizes).
 */
export async function maybeSelection(
  run: string,
  row: number,
  pool: readonly { bytes: number }[],
): Promise<ExplainedSelection | undefined> {
  const file = join(run, 'selection.parquet')
  for (const needed of [file, join(run, 'manifest.json')])
    if (
      !(await access(needed).then(
        () => true,
        () => false,
      ))
    )
      return undefined
  const { config, inputs } = await readManifest(join(run, 'manifest.json'))
  if (!pool.every(({ bytes }) => inputs.some(({ size }) => size === bytes))) return undefined
  await using database = await Database.open()
  const query = `SELECT * FROM read_parquet(${literal(file.replace(/[*?[]/g, '[$&]'))}) WHERE "row" = ${row}`
  const [found] = (await database.connection.runAndReadAll(query)).getRowObjects()
  if (found === undefined) return undefined
  const columns: ExplainedSelection['columns'] = {}
  for (const [name, value] of Object.entries(found)) {
    if (name === 'row' || name === 'selected' || name === 'source') continue
    columns[name] =
      typeof value === 'string' || typeof value === 'boolean'
        ? value
        : Number.isFinite(Number(value)) && value !== null
          ? Number(value)
          : null
  }
  return {
    run,
    method: String(config.method),
    budget: String(config.budget),
    selected: found.selected === true,
    columns,
  }
}
