/** Which signals `--signal name=file` takes, checked before any file is touched. */

import { WinnowError } from '../errors.ts'
import type { SignalNeed } from '../methods/method.ts'

/** Signals that can be imported, and what their files hold. */
const IMPORTABLE: Record<string, string> = {
  trajectories: 'the loss of each row at each checkpoint of a training run',
  confidence: 'the mean largest probability of each row at each checkpoint',
  initial: 'the loss of each row before training',
  unconditional: 'the loss of each response without its prompt',
  embeddings: 'a vector for each row of the pool',
  'target-embeddings': 'a vector for each row of the target',
}

/** Those that are scores of one proxy. */
const OF_PROXY = ['trajectories', 'confidence', 'initial', 'unconditional']

/** The need that an import is read for, where their names differ. */
const NEED: Record<string, string> = { 'target-embeddings': 'embeddings' }

/** A method that reads it. */
const READER: Record<string, string> = {
  ...{ trajectories: 's2l', confidence: 'least-confidence', initial: 'high-learnability', unconditional: 'ifd' },
  ...{ embeddings: 'got-d', 'target-embeddings': 'got-d' },
}

/**
 * `name=file` as typed, strictly.
 *
 * @throws {WinnowError} `bad-signal`, `repeated-signal`.
 */
export function parseSignals(given: readonly string[]): Record<string, string> {
  const signals: Record<string, string> = {}
  for (const text of given) {
    const match = /^([a-z][a-z0-9-]*)=(.+)$/s.exec(text)
    if (match === null)
      throw new WinnowError('usage', {
        code: 'bad-signal',
        message: 'a signal is given as its name and its file',
        path: '--signal',
        found: text,
        expected: `trajectories=<file or directory>, or ${Object.keys(IMPORTABLE).slice(1).join(', ')} in its place`,
      })
    const [, name, file] = match
    if (Object.hasOwn(signals, name))
      throw new WinnowError('usage', {
        code: 'repeated-signal',
        message: `signal ${name} is given twice`,
        path: '--signal',
        found: `${signals[name]} and ${file}`,
        expected: 'one file, or for losses a directory with a file for each checkpoint',
      })
    signals[name] = file
  }
  return signals
}

/**
 * Refuses imports that the method would not read.
 *
 * @throws {WinnowError} `unknown-signal`, `unneeded-signal`, `half-imported`.
 */
export function checkImports(
  signals: Readonly<Record<string, string>>,
  method: string,
  needs: readonly SignalNeed[],
): void {
  const ofPool = needs.some((need) => need.signal === 'embeddings' && need.only === 'pool')
  for (const [name, file] of Object.entries(signals)) {
    if (!Object.hasOwn(IMPORTABLE, name))
      throw new WinnowError('usage', {
        code: 'unknown-signal',
        message: `signal ${name} cannot be imported`,
        path: '--signal',
        found: `${name}=${file}`,
        expected: Object.entries(IMPORTABLE)
          .map(([known, holds]) => `${known} (${holds})`)
          .join(', '),
      })
    const isRead = needs.some(({ signal }) => signal === (NEED[name] ?? name))
    if (!isRead || (ofPool && name === 'target-embeddings'))
      throw new WinnowError('usage', {
        code: 'unneeded-signal',
        message: `the method ${method} does not read ${name}`,
        path: '--signal',
        found: `${name}=${file}`,
        expected: needs.length === 0 ? 'no signals' : `only ${needs.map(({ signal }) => signal).join(', ')}`,
        hint: `Leave it out, or choose a method that reads ${name}, such as ${READER[name]}.`,
      })
  }
  const scores = OF_PROXY.filter((name) => needs.some(({ signal }) => signal === name))
  const given = scores.filter((name) => Object.hasOwn(signals, name))
  if (given.length > 0 && given.length < scores.length)
    throw new WinnowError('usage', {
      code: 'half-imported',
      message: 'scores that a method compares must come from one model',
      path: '--signal',
      found: `only ${given.map((name) => `${name}=${signals[name]}`).join(' and ')}`,
      expected: `${scores.map((name) => `${name}=<file>`).join(' and ')}, or none of them`,
    })
  const vectors = ['embeddings', 'target-embeddings'].filter((name) => Object.hasOwn(signals, name))
  if (vectors.length === 1 && !ofPool)
    throw new WinnowError('usage', {
      code: 'half-imported',
      message: 'vectors of the pool and of the target must come from one model',
      path: '--signal',
      found: `only ${vectors[0]}=${signals[vectors[0]]}`,
      expected: 'both embeddings=<file> and target-embeddings=<file>, or neither',
    })
}

/**
 * Refuses a model to train where losses are imported, before either is opened.
 *
 * @throws {WinnowError} `two-loss-sources`.
 */
export function checkProxy(signals: Readonly<Record<string, string>>, proxy: string): void {
  const imported = OF_PROXY.find((name) => Object.hasOwn(signals, name))
  if (imported === undefined || proxy === 'nano') return
  throw new WinnowError('usage', {
    code: 'two-loss-sources',
    message: 'losses are imported, so no proxy is trained',
    path: '--proxy',
    found: `--proxy ${proxy} and --signal ${imported}=${signals[imported]}`,
    expected: 'one of them',
    hint: 'Leave out --proxy to use the recorded losses, or --signal to train the proxy.',
  })
}
