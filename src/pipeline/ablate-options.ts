/** What `ablate` is asked: a selection, and options of it that are varied one at a time. */

import { ANOTHER_DRAW } from '../analysis/ablation.ts'
import { WinnowError } from '../errors.ts'
import { describeOptions } from '../methods/options.ts'
import { findMethod } from '../methods/registry.ts'
import { canonicalJson } from '../runs/hash.ts'
import { wholeNumber } from './model-options.ts'
import { needsOf, optionsAsConfig, type ResolvedOptions, resolveOptions, type SelectOptions } from './options.ts'
import { poolName } from './pool-options.ts'
import { askedCheckpoints } from './recording.ts'

export interface AblateOptions extends Omit<SelectOptions, 'out' | 'drawSeed' | 'recording'> {
  /** Values by option, in the order of the table: `{ checkpoints: ['3', '6'], seed: ['1', '2'] }`. */
  vary: Record<string, string[]>
}

export interface Variation {
  /** `base`, or `checkpoints=3`. */
  name: string
  /** Others that come to the same options. */
  also: string[]
  options: SelectOptions
}

export interface ResolvedAblation {
  run: string
  /** The base first. */
  variations: Variation[]
}

/** `first-checkpoints` → `firstCheckpoints` */
const camel = (name: string) => name.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())

/** Options that are not a method's own. */
const COMMON = [
  'seed',
  'draw',
  'budget',
  'method',
  'proxy',
  'embedding',
  'maxLength',
  'firstCheckpoints',
  'lastCheckpoints',
]

/**
 * The selections of an ablation: the base, another draw from its signals (what a method's own randomness changes), and one for each value. All
 * record as many checkpoints as the longest needs, so that one training run serves them. Everything is checked before anything is read.
 *
 * @throws {WinnowError} `no-variation`, `unknown-option`, `bad-option`, `imported-window`, and as `resolveOptions`.
 */
export function resolveAblation(asked: AblateOptions): ResolvedAblation {
  const { vary, ...base } = asked
  if (Object.values(vary).every((values) => values.length === 0))
    throw new WinnowError('usage', {
      code: 'no-variation',
      message: 'nothing to vary was named',
      path: '--vary',
      expected: 'an option and its values, such as checkpoints=3,6,12',
      hint: 'For example: winnow ablate pool.jsonl --budget 10% --vary checkpoints=3,6,12 --vary seed=1,2,3.',
    })
  const { stem, extension } = poolName(base.pool[0] ?? '')
  const run = base.run ?? `${stem}.ablation.winnow`
  const outOf = (name: string) => `${run}/ablation/${name.replaceAll(/[^\w.-]+/g, '-').replace(/-+$/, '')}${extension}`
  const first = resolveOptions(base)
  const all: Variation[] = [
    { name: 'base', also: [], options: base },
    { name: ANOTHER_DRAW, also: [], options: { ...base, drawSeed: first.seed + 1 } },
    ...Object.entries(vary).flatMap(([option, values]) =>
      values.map((value) => ({ name: `${option}=${value}`, also: [], options: varied(base, camel(option), value) })),
    ),
  ]
  // Every one is checked, and the longest recording found, before the first runs.
  const resolved = all.map(({ options }) => resolveOptions(options))
  const most = Math.max(0, ...resolved.map(checkpointsOf))
  const known = new Map<string, Variation>()
  for (const [i, variation] of all.entries()) {
    const { recording = { columns: 'even' as const } } = variation.options
    const recorded = checkpointsOf(resolved[i]) > 0 ? { ...recording, checkpoints: most } : undefined
    const key = identity({ ...resolved[i], recording: recorded })
    const same = known.get(key)
    if (same) same.also.push(variation.name)
    else known.set(key, { ...variation, options: { ...variation.options, recording: recorded, run } })
  }
  const variations = [...known.values()]
  const places = new Map<string, number>()
  for (const variation of variations) {
    const out = outOf(variation.name)
    const taken = places.get(out) ?? 0
    places.set(out, taken + 1)
    variation.options.out = taken === 0 ? out : outOf(`${variation.name}-${taken + 1}`)
  }
  return { run, variations }
}

/** Options that decide the pick, as text. */
function identity(options: ResolvedOptions): string {
  const { columns = 'even', checkpoints = 0 } = options.recording ?? {}
  // A window as long as the recording is the recording.
  const window = checkpointsOf(options) === checkpoints ? 'even' : columns
  return canonicalJson(optionsAsConfig({ ...options, recording: { columns: window, checkpoints } }))
}

/** Checkpoints that the method reads of a recorded run; 0 where it reads none. */
const checkpointsOf = (options: ResolvedOptions): number => askedCheckpoints(needsOf(options), options)

/** The base with one option in another way. */
function varied(base: SelectOptions, option: string, value: string): SelectOptions {
  const method = findMethod(base.method ?? 's2l')
  const own = (options: Record<string, unknown>) => ({ ...base, methodOptions: { ...base.methodOptions, ...options } })
  if (describeOptions(method).some(({ name }) => name === option)) return own({ [option]: value })
  switch (option) {
    case 'budget':
    case 'proxy':
    case 'embedding':
      return { ...base, [option]: value }
    case 'method': {
      const known = describeOptions(findMethod(value)).map(({ name }) => name)
      const kept = Object.entries(base.methodOptions ?? {}).filter(([name]) => known.includes(name))
      return { ...base, method: value, methodOptions: Object.fromEntries(kept) }
    }
    case 'seed':
    case 'maxLength':
      return { ...base, [option]: number(option, value) }
    case 'draw':
      return { ...base, drawSeed: number(option, value) }
    case 'firstCheckpoints':
    case 'lastCheckpoints':
      if (!describeOptions(method).some(({ name }) => name === 'checkpoints')) break
      if (base.signals?.trajectories !== undefined)
        throw new WinnowError('usage', {
          code: 'imported-window',
          message: 'of imported losses evenly spaced checkpoints are read, no first or last ones',
          path: '--vary',
          found: `${option} of ${base.signals.trajectories}`,
          hint: 'Import a file with those checkpoints alone, or vary checkpoints.',
        })
      return {
        ...own({ checkpoints: value }),
        recording: { checkpoints: 0, columns: option === 'firstCheckpoints' ? 'first' : 'last' },
      }
  }
  throw new WinnowError('usage', {
    code: 'unknown-option',
    message: `there is no such option to vary in a selection by ${method.name}`,
    path: '--vary',
    found: kebab(option),
    expected: [...describeOptions(method).map(({ name }) => name), ...COMMON].map(kebab).join(', '),
  })
}

const kebab = (name: string) => name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

function number(option: string, value: string): number {
  return wholeNumber(/^\d+$/.test(value) ? Number(value) : Number.NaN, 0, `--vary ${kebab(option)}`, 0)
}
