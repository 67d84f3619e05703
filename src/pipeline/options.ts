/** What `select` is asked, with its defaults. The command line, the library and a replayed manifest all give this. */

import { availableParallelism } from 'node:os'
import { basename, dirname } from 'node:path'
import type { DeviceName, OrtApi } from '../engine/session.ts'
import { WinnowError } from '../errors.ts'
import { type Budget, parseBudget } from '../methods/budget.ts'
import type { Method } from '../methods/method.ts'
import { parseOptions } from '../methods/options.ts'
import { findMethod } from '../methods/registry.ts'
import type { Json } from '../runs/hash.ts'
import type { OnEvent } from './events.ts'
import { checkImports } from './importable.ts'

export interface SelectOptions {
  /** Files and globs. */
  pool: string[]
  /** `30%`, `5000`, `2Mtok`. */
  budget: string
  /** Name in the method registry. Default `s2l`. */
  method?: string
  /** The method's own options; its schema checks them and fills in defaults. */
  methodOptions?: Record<string, unknown>
  /** Selected records. Default: `<pool>.selected.<extension>` in the working directory. */
  out?: string
  /** Run directory. Default: `<pool>.winnow` in the working directory. */
  run?: string
  /** Replace an output that is there. Default false. */
  overwrite?: boolean
  /** Default 0. */
  seed?: number
  /** Only `nano` for now. */
  proxy?: string
  /** Signals read from files made elsewhere, in place of computing them: `{ trajectories: 'losses.parquet' }`. */
  signals?: Record<string, string>
  device?: DeviceName
  /** Threads of the cpu device and of clustering. Default: as many as the machine runs at once. */
  threads?: number
  /** Rows are cut to this many tokens. Default 512. */
  maxLength?: number
  fields?: string
  template?: string
  /** Default `stop`. */
  onBadRow?: 'stop' | 'skip'
  /** DuckDB's memory limit: it reads and writes Parquet. Default 512MB. */
  memoryLimit?: string
  /** The command as typed, for the manifest and the report. */
  command?: string
}

export interface SelectContext {
  /** ONNX Runtime, for methods that train a proxy. */
  ort: OrtApi
  onEvent?: OnEvent
  signal?: AbortSignal
}

/** Options with every default filled in and checked. */
export interface ResolvedOptions {
  pool: string[]
  budget: Budget
  method: Method
  methodOptions: Record<string, unknown>
  out: string
  run: string
  overwrite: boolean
  seed: number
  proxy: 'nano'
  signals: Record<string, string>
  device: DeviceName
  threads: number
  maxLength: number
  fields?: string
  template?: string
  onBadRow: 'stop' | 'skip'
  memoryLimit?: string
  command: string
}

/**
 * Fills in defaults and checks what can be checked without touching a file.
 *
 * @throws {WinnowError} `bad-budget`, `unknown-method`, `bad-option`, `unsupported-proxy`, `no-pool`, `unknown-signal`, `unneeded-signal`.
 */
export function resolveOptions(options: SelectOptions): ResolvedOptions {
  if (options.pool.length === 0)
    throw new WinnowError('usage', {
      code: 'no-pool',
      message: 'no pool is named',
      expected: 'one or more files',
      hint: 'Name the file to select from.',
    })
  const proxy = options.proxy ?? 'nano'
  if (proxy !== 'nano')
    throw new WinnowError('usage', {
      code: 'unsupported-proxy',
      message: 'pretrained proxies are not supported yet',
      path: '--proxy',
      found: proxy,
      expected: 'nano',
      hint: 'Leave --proxy out: nano is trained from scratch on the pool and needs no download.',
    })
  const whole = (value: number | undefined, fallback: number, path: string, least: number) => {
    const number = value ?? fallback
    if (Number.isSafeInteger(number) && number >= least) return number
    throw new WinnowError('usage', {
      code: 'bad-option',
      message: 'the option takes a whole number',
      path,
      found: String(value),
      expected: `${least} or more`,
    })
  }
  if (options.memoryLimit !== undefined && !/^\d+(\.\d+)?\s*([kmgt]i?)?b$/i.test(options.memoryLimit.trim()))
    throw new WinnowError('usage', {
      code: 'bad-option',
      message: 'the memory limit is not understood',
      path: '--memory-limit',
      found: options.memoryLimit,
      expected: 'a size such as 512MB or 2GB',
    })
  const method = findMethod(options.method ?? 's2l')
  const { stem, extension } = poolName(options.pool[0])
  const budget = parseBudget(options.budget)
  const methodOptions = parseOptions(method, options.methodOptions ?? {})
  const signals = options.signals ?? {}
  checkImports(signals, method.name, method.needs(methodOptions, budget.unit === 'tokens' ? 'tokens' : 'rows'))
  return {
    pool: options.pool,
    budget,
    method,
    methodOptions,
    out: options.out ?? `${stem}.selected${extension}`,
    run: options.run ?? `${stem}.winnow`,
    overwrite: options.overwrite ?? false,
    seed: whole(options.seed, 0, '--seed', 0),
    proxy,
    signals,
    device: options.device ?? 'cpu',
    threads: whole(options.threads, availableParallelism(), '--threads', 1),
    maxLength: whole(options.maxLength, 512, '--max-length', 8),
    fields: options.fields,
    template: options.template,
    onBadRow: options.onBadRow ?? 'stop',
    memoryLimit: options.memoryLimit,
    command: options.command ?? 'winnow select',
  }
}

/** `data/math.jsonl.gz` → `math` and `.jsonl.gz`; patterns lose their wildcards, and `data/*.jsonl` is `data`. */
function poolName(path: string): { stem: string; extension: string } {
  const name = basename(path)
  const match = /^(.*?)(\.(?:jsonl|ndjson|json|csv|tsv|parquet)(?:\.(?:gz|zst))?)?$/i.exec(name)
  const tidy = (text: string) => text.replaceAll(/[*?[\]{}!]+/g, '').replace(/^[.\-_]+|[.\-_]+$/g, '')
  const stem = tidy(match?.[1] ?? name) || tidy(basename(dirname(path))) || 'pool'
  return { stem, extension: match?.[2]?.toLowerCase() ?? '.jsonl' }
}

/** The options as a manifest keeps them; `select --config` reads them back. */
export function optionsAsConfig(options: ResolvedOptions): Record<string, Json> {
  const { method, budget, signals, ...rest } = options
  const imports = Object.keys(signals).length === 0 ? {} : { signals }
  const config = { ...rest, ...imports, method: method.name, budget: budget.text }
  return JSON.parse(JSON.stringify(config)) as Record<string, Json>
}
