/** A transport problem in WebAssembly memory, with its kernel compiled and its threads brought up. */

import { WinnowError } from '../errors.ts'
import type { Parallel } from '../parallel/parallel.ts'
import { packColumn } from '../similarity/tiles.ts'
import { checkFinite } from '../similarity/validation.ts'
import type { Vectors } from '../similarity/vectors.ts'
import { allocateMemory } from '../webassembly/regions.ts'
import { compileRelaxed } from '../webassembly/relaxed.ts'
import { openTeam } from '../webassembly/team.ts'
import { kernelModule } from './kernel.ts'
import { type Layout, layoutOf, type Sizes, type Views, viewsOf } from './layout.ts'
import { attach, type Command, type SharedTransport } from './shard.ts'

export interface OpenProblem extends AsyncDisposable {
  layout: Layout
  views: Views
  run(command: Command): Promise<void>
}

/** Kernel entries (a cost takes some d of them) below which one thread is done before another has heard of it. */
const WORTH_MESSAGE = 2 ** 18

/** Beyond the last target: so far, and so low in potential, that nothing flows. */
const FAR = 1e38
const LOW = -1e30

/**
 * Lays out `sizes` and packs the targets. Vectors are taken relative to the targets' mean: distances do not change, but float32
 * then loses nothing to what all vectors have in common.
 */
export async function openProblem(
  targets: Vectors,
  sizes: Omit<Sizes, 'm' | 'd' | 'threads'>,
  parallel: Parallel | undefined,
): Promise<OpenProblem> {
  const { n: m, d } = targets
  const layout = layoutOf({ ...sizes, m, d, threads: parallel?.threads ?? 1 })
  const shared = parallel !== undefined && parallel.threads > 1
  const memory = allocateMemory(
    layout.pages,
    shared,
    `${m} targets and ${sizes.n} candidates of ${d} dimensions`,
    'Solve on a sample of the candidates and score the others from it.',
  )
  const module = await compileRelaxed((relaxed) => kernelModule(layout, shared, relaxed))
  const state: SharedTransport = { layout, memory, module }
  const views = viewsOf(layout, memory.buffer)
  packTargets(targets, views)
  const handle = await attach(state, 0)
  const url = new URL(`./shard${import.meta.url.slice(-3)}`, import.meta.url).href
  const team = openTeam<Command>(shared ? parallel : undefined, url, state, views.ticket, handle)
  return {
    layout,
    views,
    run: (command) => {
      const work = command.rows * layout.columns * (command.do === 'iterate' ? 1 : d)
      return team.run(command, Math.ceil(command.rows / layout.blockRows), work < WORTH_MESSAGE)
    },
    [Symbol.asyncDispose]: () => team[Symbol.asyncDispose](),
  }
}

function packTargets({ data, n: m, d }: Vectors, views: Views): void {
  const { origin, panels, targetSquares, targetBase } = views
  const mean = new Float64Array(d)
  for (let i = 0; i < m; i++) for (let j = 0; j < d; j++) mean[j] += data[i * d + j]
  for (let j = 0; j < d; j++) origin[j] = mean[j] / m
  const row = new Float32Array(d)
  targetSquares.fill(FAR)
  targetBase.fill(LOW)
  for (let i = 0; i < m; i++) {
    let square = 0
    for (let j = 0; j < d; j++) {
      row[j] = data[i * d + j] - origin[j]
      square += row[j] * row[j]
    }
    packColumn(row, 0, d, panels, i, -2)
    targetSquares[i] = square
  }
  checkSquares(targetSquares.subarray(0, m), data, d, 'targets')
}

/**
 * Looks for vectors that are not finite, or too long, in their squared distances from the origin.
 *
 * @throws {WinnowError} `vectors-not-finite`; `vectors-too-long`: a distance would not fit float32.
 */
export function checkSquares(squares: Float32Array, data: Float32Array, d: number, what: string): void {
  // The distance of two vectors is at most the sum of theirs from the origin, its square twice the sum of the squares.
  const bad = squares.findIndex((square) => !(square < 2 ** 120))
  if (bad < 0) return
  checkFinite(data, d, what)
  throw new WinnowError('input', {
    code: 'vectors-too-long',
    message: `${what}: a vector is too far from the targets' mean for float32`,
    found: `a squared distance of ${squares[bad]}`,
    expected: 'vectors far below 1e18 in length',
    hint: 'Normalise the vectors.',
  })
}
