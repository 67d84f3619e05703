/** Methods as `--methods` names them: `s2l`, `least-confidence@early`, `s2l:clusters=50:stratify=source`, `all`. */

import { WinnowError } from '../errors.ts'
import type { Method } from '../methods/method.ts'
import { describeOptions, parseOptions } from '../methods/options.ts'
import { findMethod, methods } from '../methods/registry.ts'
import { readsTarget } from '../pipeline/target-options.ts'

/** A method with its options, as one row of a comparison. */
export interface Entry {
  /** Names the row: the text it was asked by. */
  label: string
  method: Method
  options: Record<string, unknown>
  /** Asked for by `all`: left out where the pool cannot give what it needs. */
  ifPossible?: boolean
}

/** What the run can give methods. */
export interface Means {
  target: boolean
  /** The embedding is the proxy's hidden states. */
  hidden?: boolean
  /** The proxy is a pretrained model, of which only the last weights are kept. */
  pretrained?: boolean
}

/**
 * Reads the list. `all` stands for every method whose needs the run can meet. A method that scores with one checkpoint of the proxy, and is named
 * without one, becomes two rows, `@early` and `@late`: the S2L paper reports the better of the two, which only the two together can
 * show. `random` is what all others are measured against and is put first where it is not named.
 *
 * `set`: options for every method that has them.
 *
 * @throws {WinnowError} `no-methods`, `unknown-method`, `bad-method`, `repeated-method`, `bad-option`, `unread-option`.
 */
export function parseMethods(
  names: readonly string[],
  set: Readonly<Record<string, string>>,
  means: Means,
): { entries: Entry[]; leftOut: string[] } {
  const usage = (code: string, message: string, rest: { found?: string; expected?: string; hint?: string }) =>
    new WinnowError('usage', { code, message, path: '--methods', ...rest })
  const asked = names.map((name) => name.trim()).filter((name) => name !== '')
  if (asked.length === 0)
    throw usage('no-methods', 'no method to compare was named', {
      expected: 'names separated by commas, or all',
      hint: 'For example: --methods s2l,facility-location,least-confidence.',
    })
  const leftOut: string[] = []
  const optional = new Set<string>()
  const expanded = asked.flatMap((name) => {
    if (name !== 'all') return [name]
    return methods.flatMap((method) => {
      const needs = method.needs(parseOptions(method, {}), 'rows')
      if (!readsTarget(needs) || means.target) {
        if (method.name !== 'random') optional.add(method.name)
        return asked.includes(method.name) ? [] : [method.name]
      }
      leftOut.push(method.name)
      return []
    })
  })
  const listed = expanded.some((name) => /^random(?![\w-])/.test(name)) ? expanded : ['random', ...expanded]
  const used = new Set<string>()
  const entries = listed.flatMap((text): Entry[] => {
    const match = /^([a-z0-9-]+)(?:@([a-z]+|\d+))?((?::[a-z][\w-]*=[^:]+)*)$/i.exec(text)
    if (match === null)
      throw usage('bad-method', 'the method is not understood', {
        found: text,
        expected:
          'a name, with a checkpoint behind @ or options behind colons, such as least-confidence@early or s2l:clusters=50',
      })
    const [, name, checkpoint, rest] = match
    const method = findMethod(name)
    const known = describeOptions(method).map((option) => option.name)
    const given: Record<string, unknown> = {}
    for (const [option, value] of Object.entries(set)) {
      if (!known.includes(camel(option))) continue
      given[camel(option)] = value
      used.add(option)
    }
    for (const pair of rest.split(':').filter((part) => part !== '')) {
      const at = pair.indexOf('=')
      const option = camel(pair.slice(0, at))
      if (!known.includes(option))
        throw usage('bad-method', `the method ${name} has no option ${pair.slice(0, at)}`, {
          found: text,
          expected: known.length === 0 ? 'no options' : known.join(', '),
        })
      given[option] = pair.slice(at + 1)
    }
    if (checkpoint !== undefined && !known.includes('checkpoint'))
      throw usage('bad-method', `the method ${name} scores with no checkpoint`, { found: text, expected: name })
    const ifPossible = optional.has(text) && !asked.includes(text) ? { ifPossible: true } : {}
    if (!known.includes('checkpoint') || given.checkpoint !== undefined)
      return [{ label: text, method, options: parseOptions(method, given), ...ifPossible }]
    if (checkpoint !== undefined)
      return [{ label: text, method, options: parseOptions(method, { ...given, checkpoint }) }]
    return checkpointsOf(method, parseOptions(method, given), means).map((one) => ({
      label: one === undefined ? text : `${name}@${one}${rest}`,
      method,
      options: parseOptions(method, one === undefined ? given : { ...given, checkpoint: one }),
      ...ifPossible,
    }))
  })
  const labels = entries.map(({ label }) => label)
  const twice = labels.find((label, i) => labels.indexOf(label) < i)
  if (twice !== undefined) throw usage('repeated-method', 'the method is named twice', { found: twice })
  for (const option of Object.keys(set))
    if (!used.has(option))
      throw new WinnowError('usage', {
        code: 'unread-option',
        message: 'no method of the comparison has this option',
        path: '--set',
        found: option,
      })
  return { entries, leftOut }
}

/**
 * The checkpoints that a method is compared at where none is named. One that reads the proxy only as an embedding has them where the embedding is
 * a nano's hidden states, and is one row elsewhere; one that needs weights, and not losses alone, has of a pretrained proxy the start in the
 * place of an early one.
 */
function checkpointsOf(method: Method, options: Record<string, unknown>, means: Means): (string | undefined)[] {
  const { hidden = false, pretrained = false } = means
  const needs = method.needs(options, 'rows', { pretrained })
  if (needs.some(({ signal }) => signal === 'embeddings'))
    return hidden && !pretrained ? ['early', 'late'] : [undefined]
  return pretrained && needs.some(({ signal }) => signal === 'unconditional') ? ['start', 'late'] : ['early', 'late']
}

/** Of the methods that `all` stands for, those that go by source: what a pool that names none leaves out. */
export const goingBySource = (entries: readonly Entry[]): Entry[] =>
  entries.filter(
    ({ method, options, ifPossible }) =>
      ifPossible && method.needs(options, 'rows').some(({ signal }) => signal === 'source'),
  )

const camel = (name: string) => name.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())
