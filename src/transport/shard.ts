/**
 * One thread's part of a transport problem: takes blocks of candidates by ticket and does the command on each. What a block computes
 * depends on nothing that another block of the same command writes.
 *
 * Notation: S_j = sum_i a_i exp((f'_i - C_ij) / eps). The plain update of a candidate's potential is T_j = -lambda eps log S_j.
 */

import { GROUP_ROWS, grouped, PANEL_COLUMNS } from '../similarity/tiles.ts'
import { byTicket, type Stretch } from '../webassembly/team.ts'
import { type WasmMemory, type WasmModule, WebAssembly } from '../webassembly/webassembly.ts'
import type { Kernel } from './kernel.ts'
import { type Layout, viewsOf } from './layout.ts'

export interface SharedTransport {
  layout: Layout
  memory: WasmMemory
  module: WasmModule
}

interface Rows {
  /** Rows [0, rows) take part. */
  rows: number
}

/** Where an absorption has its costs from: they are computed, and perhaps kept, or those that were kept. */
export type Costs = 'compute' | 'keep' | 'recall'

export type Command = Rows &
  (
    | { do: 'prepare' }
    /**
     * g from f by log-sum-exp over the costs, K = exp((f + g - C) / eps), and `totals` of b_j K_ij. `first`: there is no earlier g to measure
     * the error of, or to mix with.
     */
    | { do: 'absorb'; relaxation: number; first: boolean; costs: Costs }
    /** The same from the stored kernel. */
    | { do: 'iterate'; relaxation: number }
    /** Log-sum-exp over candidates of log b_j + (g_j - C_ij) / eps for the rescued targets: `most`, `totals`. */
    | { do: 'rescue'; panels: number }
    /** `entropies` and row `totals` of the plan of (f, plain g). */
    | { do: 'measure' }
    /** Prepares the rows; then `plainPotential`, `nearest` and `rowLeast`. */
    | { do: 'score' }
  )

type Absorb = Extract<Command, { do: 'absorb' }>

/**
 * What the kernel has dropped as 0 is under exp(-50) of its row's largest entry (exponential.ts). So that it would not show in any sum, the
 * kernel is computed anew when targets' scales differ by more than exp(REACH), or a candidate's exceeds MOST_SCALE.
 */
export const REACH = 25
const MOST_SCALE = Math.exp(20)
/** Small scales of candidates drop out of sums as they should; they only stay above 0. */
const LEAST_SCALE = 1e-300
/** Products of the kernel with less are flushed to 0, for sums of numbers below float32's normal ones are slow. */
const LEAST_FACTOR = 1e-30
/** The exponents that the largest entry of a kernel's row may have. */
const [LOW_ENTRY, HIGH_ENTRY] = [-30, 80]
/** Steps of g beyond this many eps are taken without relaxation: the kernel could overflow. */
const RELAXED_REACH = 30

/** Sets up this thread's view of the problem. */
export async function attach({ layout, memory, module }: SharedTransport, worker: number) {
  const { ticket } = viewsOf(layout, memory.buffer)
  const { exports } = await WebAssembly.instantiate(module, { core: { memory } })
  const work = blockWork(layout, memory, exports as Kernel, worker)
  return byTicket<Command>(ticket, work) satisfies (stretch: Stretch<Command>) => void
}

function blockWork(layout: Layout, memory: WasmMemory, kernel: Kernel, worker: number) {
  const views = viewsOf(layout, memory.buffer)
  const { d, at, columns, tileRows, blockRows, stored, epsilon, damping } = layout
  const rowBytes = 4 * columns
  const tile = at.tile + worker * tileRows * rowBytes
  const sums = at.sums + worker * rowBytes
  const most = at.columnMost + worker * rowBytes
  const { candidateWeights: b, potential, plainPotential, candidateBase, candidateScale } = views
  const { rowMost, rowSum, rowFactor } = views
  /** eps / rho: 0 where the marginals are to be met exactly. */
  const penalty = (1 - damping) / damping
  const kernelOf = (row: number) => (stored ? at.kernel + row * rowBytes : tile)
  const totalsOf = (block: number) => at.totals + 8 * block * columns

  const bytes = new Uint8Array(memory.buffer)

  /** Costs of rows [first, first + count) to `place`, with rowMost, and rowLeast where they are computed. */
  const weigh = (first: number, count: number, place: number, costs: Costs) => {
    const kept = at.costs + first * rowBytes
    if (costs === 'recall') return kernel.recall(first, count, place, kept)
    kernel.dots(at.candidates + 4 * first * d, grouped(count) / 4, at.panels, columns / PANEL_COLUMNS, place, rowBytes)
    kernel.costs(first, count, place)
    if (costs === 'keep') bytes.copyWithin(kept, place, place + count * rowBytes)
  }
  /** T_j of a softened row. */
  const update = (j: number) => -damping * (rowMost[j] + epsilon * Math.log(rowSum[j]))
  /** The row's share of the marginal error of (f, former g), T being the plain update from f. */
  const errorOf = (j: number, former: number, plain: number) => {
    const part = b[j] * Math.abs(Math.expm1((former - plain) / (damping * epsilon)))
    return penalty === 0 ? part : part * Math.exp((-penalty * former) / epsilon)
  }
  const relax = (former: number, plain: number, relaxation: number) =>
    relaxation === 1 || Math.abs((relaxation - 1) * (plain - former)) > RELAXED_REACH * epsilon
      ? plain
      : (1 - relaxation) * former + relaxation * plain

  /** Makes a softened row j the kernel's for potential g. */
  const absorbRow = (j: number, g: number) => {
    const exponent = (g + rowMost[j]) / epsilon
    rowFactor[j] = Math.exp(Math.min(HIGH_ENTRY, Math.max(LOW_ENTRY, exponent)))
    // What float32 made of it is what the kernel has.
    candidateBase[j] = epsilon * Math.log(rowFactor[j]) - rowMost[j]
    candidateScale[j] = exponent < LOW_ENTRY ? Math.max(LEAST_SCALE, Math.exp(exponent - LOW_ENTRY)) : 1
  }
  const factorOf = (j: number) => {
    const factor = b[j] * candidateScale[j]
    return factor < LEAST_FACTOR ? 0 : factor
  }
  const gatherRows = (first: number, count: number, place: number) => {
    for (let j = first; j < first + count; j++) rowFactor[j] = factorOf(j)
    kernel.gather(first, count, place, sums)
  }

  const absorb = (first: number, count: number, block: number, { relaxation, first: fresh, costs }: Absorb) => {
    const place = kernelOf(first)
    weigh(first, count, place, costs)
    kernel.soften(first, count, place)
    let error = 0
    for (let j = first; j < first + count; j++) {
      const plain = update(j)
      if (!fresh) error += errorOf(j, potential[j], plain)
      plainPotential[j] = plain
      potential[j] = fresh ? plain : relax(potential[j], plain, relaxation)
      absorbRow(j, potential[j])
    }
    kernel.scale(first, count, place)
    gatherRows(first, count, place)
    views.errors[block] += fresh ? Infinity : error
  }

  /** Whether a scale of the block has left the kernel's reach. */
  let wild = false

  /** Renews the scales of at most four rows from their sums; returns their share of the marginal error. */
  const renew = (first: number, count: number, relaxation: number): number => {
    let error = 0
    for (let j = first; j < first + count; j++) {
      const sum = rowSum[j]
      let scale: number
      if (damping === 1) {
        error += b[j] * Math.abs(candidateScale[j] * sum - 1)
        if (relaxation === 1) scale = 1 / sum
        else {
          const former = Math.log(candidateScale[j])
          const plain = -Math.log(sum)
          const far = Math.abs((relaxation - 1) * (plain - former)) > RELAXED_REACH
          scale = Math.exp(far ? plain : former + relaxation * (plain - former))
        }
      } else {
        const former = candidateBase[j] + epsilon * Math.log(candidateScale[j])
        const plain = damping * (candidateBase[j] - epsilon * Math.log(sum))
        error += errorOf(j, former, plain)
        scale = Math.exp((relax(former, plain, relaxation) - candidateBase[j]) / epsilon)
      }
      if (!(scale < MOST_SCALE)) wild = true
      candidateScale[j] = Math.max(LEAST_SCALE, scale)
      rowFactor[j] = factorOf(j)
    }
    // The rest of the last group takes part in sums.
    for (let j = first + count; j < grouped(first + count); j++) rowFactor[j] = 0
    return error
  }

  /** A block by groups of four: while one is gathered, the next is summed. */
  const iterate = (start: number, end: number, block: number, relaxation: number) => {
    let [gathered, error] = [0, 0]
    wild = false
    for (let first = start; first < end; first += GROUP_ROWS) {
      if (first === start) kernel.sums(first, kernelOf(first))
      else {
        kernel.sweep(first, kernelOf(first), sums)
        gathered += GROUP_ROWS
        // float32 sums over few candidates only.
        if (gathered % tileRows === 0) kernel.fold(sums, totalsOf(block))
      }
      error += renew(first, Math.min(GROUP_ROWS, end - first), relaxation)
    }
    const last = end - ((end - start) % GROUP_ROWS || GROUP_ROWS)
    kernel.gather(last, end - last, kernelOf(last), sums)
    kernel.fold(sums, totalsOf(block))
    views.errors[block] = error
    views.wild[block] = wild ? 1 : 0
  }

  /** Merges a tile's log-sum-exp of every column into the block's: largest exponent and sum relative to it. */
  const rescue = (first: number, count: number, block: number, panels: number) => {
    const bytes = 4 * PANEL_COLUMNS * panels
    for (let j = first; j < first + count; j++) rowFactor[j] = potential[j] / epsilon + Math.log(b[j])
    kernel.dots(at.candidates + 4 * first * d, grouped(count) / 4, at.rescuePanels, panels, tile, bytes)
    kernel.columnMost(first, count, tile, bytes, most)
    kernel.columnSums(first, count, tile, bytes, most, sums)
    for (let i = 0; i < PANEL_COLUMNS * panels; i++) {
      const of = block * columns + i
      const exponent = views.columnMost[worker * columns + i]
      const sum = views.sums[worker * columns + i]
      if (exponent > views.most[of]) {
        views.totals[of] = views.totals[of] * Math.exp(views.most[of] - exponent) + sum
        views.most[of] = exponent
      } else views.totals[of] += sum * Math.exp(exponent - views.most[of])
    }
    views.sums.fill(0, worker * columns, (worker + 1) * columns)
  }

  const measure = (first: number, count: number, block: number) => {
    const place = kernelOf(first)
    if (stored) {
      for (let j = first; j < first + count; j++)
        candidateScale[j] = Math.exp((plainPotential[j] - candidateBase[j]) / epsilon)
    } else {
      weigh(first, count, place, 'compute')
      kernel.soften(first, count, place)
      for (let j = first; j < first + count; j++) {
        plainPotential[j] = update(j)
        absorbRow(j, plainPotential[j])
      }
      kernel.scale(first, count, place)
    }
    gatherRows(first, count, place)
    kernel.entropies(first, count, place)
    for (let j = first; j < first + count; j++) views.entropies[block] += b[j] * candidateScale[j] * rowSum[j]
  }

  const work = (command: Command, block: number, first: number, count: number) => {
    switch (command.do) {
      case 'prepare':
        return kernel.prepare(first, first + count)
      case 'absorb':
        return absorb(first, count, block, command)
      case 'rescue':
        return rescue(first, count, block, command.panels)
      case 'measure':
        return measure(first, count, block)
      case 'score':
        kernel.prepare(first, first + count)
        weigh(first, count, tile, 'compute')
        kernel.nearest(first, count, tile)
        kernel.soften(first, count, tile)
        for (let j = first; j < first + count; j++) plainPotential[j] = update(j)
    }
  }

  return (command: Command, block: number): void => {
    const end = Math.min(command.rows, (block + 1) * blockRows)
    views.errors[block] = views.wild[block] = views.entropies[block] = 0
    views.totals.fill(0, block * columns, (block + 1) * columns)
    if (command.do === 'rescue') views.most.fill(-Infinity, block * columns, (block + 1) * columns)
    const start = block * blockRows
    if (command.do === 'iterate') iterate(start, end, block, command.relaxation)
    else
      for (let first = start; first < end; first += tileRows) {
        work(command, block, first, Math.min(tileRows, end - first))
        if (command.do !== 'rescue') kernel.fold(sums, totalsOf(block))
      }
  }
}
