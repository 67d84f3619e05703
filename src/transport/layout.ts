/**
 * Where everything of one transport problem lies in its WebAssembly memory. Candidates are the rows: a block of them is
 * one thread's at a time, and what a block sums over its candidates for every target it keeps to itself, so that sums have
 * the same bits whoever took the block.
 */

import { grouped, panelled } from '../similarity/tiles.ts'
import { type Places, placeRegions, type ViewsOf, viewRegions } from '../webassembly/regions.ts'

/** Bytes of costs that a thread works on at a time: they stay in its cache. */
const TILE_BYTES = 2 ** 18
const LEAST_TILE_ROWS = 16
/** Candidates that may be summed over in float32. */
const MOST_TILE_ROWS = 128
const MOST_BLOCKS = 128
/** Each block keeps a float64 for every target; together they stay under this many bytes. */
const MOST_TOTAL_BYTES = 64 * 2 ** 20

export interface Sizes {
  /** Targets. */
  m: number
  /** Candidates: all of a problem's, or the most in a block that is scored. */
  n: number
  d: number
  threads: number
  /** Whether the kernel matrix is kept. */
  stored: boolean
  /** Whether there is room for the costs beside it. */
  keepCosts: boolean
  epsilon: number
  /** lambda = rho / (rho + epsilon); 1 where the marginals are to be met exactly. */
  damping: number
}

export interface Layout extends Sizes {
  /** m in whole panels: the length of a row of costs. */
  columns: number
  /** Candidates worked on at a time. */
  tileRows: number
  /** Candidates in a block, whole tiles. */
  blockRows: number
  blocks: number
  at: Places<TransportRegions>
  pages: number
}

export type TransportRegions = ReturnType<typeof regionsOf>
export type Views = ViewsOf<TransportRegions>

function regionsOf(l: Omit<Layout, 'at' | 'pages'>) {
  const rows = grouped(l.n)
  return {
    ticket: [Int32Array, 1],
    /** What vectors are taken relative to, [d]. */
    origin: [Float32Array, l.d],
    /** -2 (t_i - origin), packed. */
    panels: [Float32Array, l.columns * l.d],
    /** The same for the targets that `rescue` is about. */
    rescuePanels: [Float32Array, l.columns * l.d],
    /** |t_i - origin|^2; beyond m so large that nothing flows there. */
    targetSquares: [Float32Array, l.columns],
    rescueSquares: [Float32Array, l.columns],
    /** f' as the kernel has it; beyond m so low that nothing flows there. */
    targetBase: [Float32Array, l.columns],
    /** a_i exp((f'_i - base_i) / eps); 0 beyond m. */
    targetScale: [Float32Array, l.columns],
    /** x_j - origin, row-major. */
    candidates: [Float32Array, rows * l.d],
    candidateSquares: [Float32Array, rows],
    /** max_i f'_i - C_ij. */
    rowMost: [Float32Array, rows],
    /** min_i C_ij. */
    rowLeast: [Float32Array, rows],
    /** A float32 a row that the next function reads. */
    rowFactor: [Float32Array, rows],
    /** A float64 sum over the targets. */
    rowSum: [Float64Array, rows],
    /** b_j, summing to 1 over the candidates that take part. */
    candidateWeights: [Float64Array, rows],
    /** g' as it is used. */
    potential: [Float64Array, rows],
    /** g' as its update gave it, without relaxation. */
    plainPotential: [Float64Array, rows],
    /** g' as the kernel has it. */
    candidateBase: [Float64Array, rows],
    /** exp((g'_j - base_j) / eps). */
    candidateScale: [Float64Array, rows],
    nearest: [Uint32Array, rows],
    /** A thread's sums over candidates, folded into its block's totals before float32 could tell. */
    sums: [Float32Array, l.threads * l.columns],
    /** Largest exponent of each column. */
    columnMost: [Float32Array, l.threads * l.columns],
    /** Sums over a block's candidates for every target. */
    totals: [Float64Array, l.blocks * l.columns],
    /** Largest exponents over a block's candidates. */
    most: [Float64Array, l.blocks * l.columns],
    /** Marginal error of each block's candidates. */
    errors: [Float64Array, l.blocks],
    /** Whether a scale of the block has left the range in which the kernel may be used. */
    wild: [Uint32Array, l.blocks],
    /** Sum of b_j v_j sum_i K_ij u_i log K_ij over the block. */
    entropies: [Float64Array, l.blocks],
    tile: [Float32Array, l.threads * l.tileRows * l.columns],
    kernel: [Float32Array, l.stored ? rows * l.columns : 0],
    costs: [Float32Array, l.stored && l.keepCosts ? rows * l.columns : 0],
  } as const
}

/** Plans the memory of a problem. Pure. */
export function layoutOf(sizes: Sizes): Layout {
  const columns = panelled(sizes.m)
  const rowBytes = 4 * columns
  const fitting = 4 * Math.floor(TILE_BYTES / (4 * rowBytes))
  const tileRows = Math.min(MOST_TILE_ROWS, Math.max(LEAST_TILE_ROWS, fitting))
  const affordable = Math.max(1, Math.min(MOST_BLOCKS, Math.floor(MOST_TOTAL_BYTES / (8 * columns))))
  const blockRows = tileRows * Math.max(1, Math.ceil(sizes.n / (tileRows * affordable)))
  const blocks = Math.max(1, Math.ceil(sizes.n / blockRows))
  const plan = { ...sizes, columns, tileRows, blockRows, blocks }
  return { ...plan, ...placeRegions(regionsOf(plan)) }
}

/** Bytes that storing the kernel takes. */
export const kernelBytes = ({ m, n }: { m: number; n: number }): number => 4 * panelled(m) * grouped(n)

export function viewsOf(layout: Layout, buffer: ArrayBufferLike): Views {
  return viewRegions(regionsOf(layout), layout.at, buffer)
}
