/** What `analyse` is asked, and what comes of it. */

import type { Analysis } from '../analysis/data.ts'
import type { DeviceName } from '../engine/session.ts'
import { WinnowError } from '../errors.ts'
import type { Notice } from '../methods/method.ts'
import { wholeNumber } from './model-options.ts'

export interface AnalyseOptions {
  /** Run directory of a finished `select`. */
  run: string
  /** Rows whose gradients are compared; 0: none. Default 200. */
  sample?: number
  /**
   * Checkpoints of the proxy to take gradients at: `early` (a quarter of the way), `late` (the last), numbers from 1 (in a list parted by commas),
   * or `all`. Only the last is kept of a pretrained proxy. Default `late`.
   */
  checkpoints?: string
  /** Random clusterings, picks and labellings that chance is measured with. Default 1000. */
  permutations?: number
  /** Bytes that gradients may take before they are sketched. Default 1 GiB. */
  memoryLimit?: string
  /** Of the sample and of chance. Default: that of the run. */
  seed?: number
  device?: DeviceName
  threads?: number
  /** The command as typed, for the page. */
  command?: string
}

export interface ResolvedAnalyseOptions extends AnalyseOptions {
  sample: number
  checkpoints: string
  permutations: number
}

/** @throws {WinnowError} `bad-option`. */
export function resolveAnalyseOptions(options: AnalyseOptions): ResolvedAnalyseOptions {
  const { checkpoints = 'late' } = options
  if (!/^(early|late|all|[1-9]\d{0,4})(,(early|late|all|[1-9]\d{0,4}))*$/.test(checkpoints))
    throw badCheckpoints(checkpoints, 'early, late, all, or numbers from 1: early,late or 3,12')
  return {
    ...options,
    sample: wholeNumber(options.sample, 200, '--sample', 0),
    permutations: wholeNumber(options.permutations, 1000, '--permutations', 19),
    checkpoints,
  }
}

const badCheckpoints = (found: string, expected: string) =>
  new WinnowError('usage', {
    code: 'bad-option',
    message: 'there are no such checkpoints',
    path: '--checkpoints',
    found,
    expected,
  })

/**
 * Columns (from 0, ascending) of T recorded checkpoints. `early` is ceil(T / 4), as in methods/checkpoint.ts.
 *
 * @throws {WinnowError} `bad-option`.
 */
export function checkpointColumns(asked: string, count: number): number[] {
  const columns = asked.split(',').flatMap((word) => {
    if (word === 'all') return Array.from({ length: count }, (_, column) => column)
    const number = word === 'late' ? count : word === 'early' ? Math.ceil(count / 4) : Number(word)
    if (number > count) throw badCheckpoints(word, `1 to ${count}`)
    return [number - 1]
  })
  return [...new Set(columns)].sort((a, b) => a - b)
}

export interface AnalyseResult extends Analysis {
  run: string
  /** The page and the numbers of it, files of the run. */
  report: string
  file: string
  notices: Notice[]
  device: DeviceName
  seconds: number
  stages: { name: string; seconds: number; cached: boolean }[]
}
