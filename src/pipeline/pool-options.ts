/** What every command asks of the records that it reads and of the run directory that it works in. */

import { basename, dirname } from 'node:path'
import type { OrtApi } from '../engine/session.ts'
import { WinnowError } from '../errors.ts'
import type { OnEvent } from './events.ts'
import { wholeNumber } from './model-options.ts'

export interface PoolOptions {
  /** Files and globs. */
  pool: string[]
  /** Run directory. Default: named after the pool, in the working directory. */
  run?: string
  /** Replace an output that is there. Default false. */
  overwrite?: boolean
  /** Default 0. */
  seed?: number
  fields?: string
  template?: string
  /** Default `stop`. */
  onBadRow?: 'stop' | 'skip'
  /** Of DuckDB, which reads and writes Parquet (default 512MB), and of the matrix of a transport problem (default 1GiB). */
  memoryLimit?: string
  /** The command as typed, for the manifest and the report. */
  command?: string
}

export interface ResolvedPoolOptions {
  pool: string[]
  run: string
  overwrite: boolean
  seed: number
  fields?: string
  template?: string
  onBadRow: 'stop' | 'skip'
  memoryLimit?: string
  command: string
}

/** What a command works with, beside its options. */
export interface PipelineContext {
  /** ONNX Runtime. */
  ort: OrtApi
  onEvent?: OnEvent
  signal?: AbortSignal
}

/** @throws {WinnowError} `no-pool`, `bad-option`. */
export function resolvePoolOptions(
  options: PoolOptions,
  defaults: { run: string; command: string; example: string },
): ResolvedPoolOptions {
  if (options.pool.length === 0)
    throw new WinnowError('usage', {
      code: 'no-pool',
      message: 'no file of records is named',
      expected: 'one or more files or globs',
      hint: `For example: ${defaults.example}.`,
    })
  if (options.memoryLimit !== undefined && !/^\d+(\.\d+)?\s*([kmgt]i?)?b$/i.test(options.memoryLimit.trim()))
    throw new WinnowError('usage', {
      code: 'bad-option',
      message: 'the memory limit is not understood',
      path: '--memory-limit',
      found: options.memoryLimit,
      expected: 'a size such as 512MB or 2GB',
    })
  return {
    pool: options.pool,
    run: options.run ?? defaults.run,
    overwrite: options.overwrite ?? false,
    seed: wholeNumber(options.seed, 0, '--seed', 0),
    fields: options.fields,
    template: options.template,
    onBadRow: options.onBadRow ?? 'stop',
    memoryLimit: options.memoryLimit,
    command: options.command ?? defaults.command,
  }
}

/** A memory limit in bytes, in DuckDB's units: `2GB` is 2e9, `2GiB` 2^31. */
export function memoryBytes(limit: string | undefined): number | undefined {
  const match = limit === undefined ? null : /^(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b$/i.exec(limit.trim())
  if (match === null) return undefined
  const [, number, unit, binary] = match
  return Number(number) * (binary ? 1024 : 1000) ** ' kmgt'.indexOf(unit.toLowerCase() || ' ')
}

/** `data/math.jsonl.gz` → `math` and `.jsonl.gz`; patterns lose their wildcards, and `data/*.jsonl` is `data`. */
export function poolName(path: string): { stem: string; extension: string } {
  const name = basename(path)
  const match = /^(.*?)(\.(?:jsonl|ndjson|json|csv|tsv|parquet)(?:\.(?:gz|zst))?)?$/i.exec(name)
  const tidy = (text: string) => text.replaceAll(/[*?[\]{}!]+/g, '').replace(/^[.\-_]+|[.\-_]+$/g, '')
  const stem = tidy(match?.[1] ?? name) || tidy(basename(dirname(path))) || 'pool'
  return { stem, extension: match?.[2]?.toLowerCase() ?? '.jsonl' }
}
