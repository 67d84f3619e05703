/** The stage that cuts a pool's vectors into cells, within which rows are compared. */

import { readFile } from 'node:fs/promises'
import { kmeans } from '../clustering/kmeans.ts'
import { normaliseRows } from '../embedding/pooling.ts'
import { workerThreads } from '../parallel/threads.ts'
import { hashJson, type Json } from '../runs/hash.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { openNeighbours } from '../similarity/neighbours.ts'
import { type Context, perform } from './context.ts'
import { drawRows } from './domains.ts'
import type { ResolvedOptions } from './options.ts'
import { gatherVectors, type VectorFiles, vectorBlocks } from './vector-files.ts'

/** Rows that k-means is fitted on: at least as many as faiss takes for a centroid, and never fewer than this. */
const FITTED_FOR_EACH = 256
const FITTED_LEAST = 16_384
const ITERATIONS = 20

/** Rows of a pool among whose vectors something is found. */
export interface Among {
  files: VectorFiles
  /** Those that count, ascending. */
  rows: Uint32Array
  /** Of the vectors. */
  hash: string
}

export interface Cells {
  /** [N]: the cell of each row, -1 of rows that do not count. */
  assignment: Int32Array
  /** Unit vectors, row-major [cells, d]. */
  centroids: Float32Array
  count: number
  hash: string
}

/** For a stage's key: which rows are left out, beside those without a vector. */
export const rowsKey = ({ files, rows }: Among): Json =>
  rows.length === files.rows ? null : hashJson(Array.from(rows))

/**
 * k-means on unit vectors (fitted on a sample of a large pool), then each row goes to the centroid of the greatest cosine, the lowest cell among
 * equals. Cells may be empty. Memory: the sample's vectors.
 */
export async function cutCells(context: Context<ResolvedOptions>, among: Among, wanted: number): Promise<Cells> {
  const { run, options, signal } = context
  const { files, rows, hash } = among
  const { dimensions: d } = files
  const count = Math.min(wanted, rows.length)
  const result = await perform<Json>(context, {
    name: 'cells',
    version: 1,
    inputs: { embeddings: hash },
    options: { cells: count, rows: rowsKey(among), seed: options.seed },
    async execute(work, progress) {
      const fitted = drawRows(rows, Math.max(FITTED_LEAST, FITTED_FOR_EACH * count), options.seed, 'cells')
      const points = await gatherVectors(files, fitted, { normalise: true, signal })
      const { centroids } = await kmeans(points, {
        k: count,
        seed: options.seed,
        restarts: 1,
        iterations: ITERATIONS,
        parallel: workerThreads(options.threads),
        signal,
        onProgress: ({ iteration }) => progress({ fraction: (0.8 * iteration) / ITERATIONS, detail: `${count} cells` }),
      })
      const unit = normaliseRows(Float32Array.from(centroids), d)
      const assignment = new Int32Array(files.rows).fill(-1)
      for await (const { first, data } of vectorBlocks(files, { normalise: true, signal })) {
        const block = { data, n: data.length / d, d }
        await using search = await openNeighbours(block, { k: 1, blockRows: count })
        await search.add(unit, 0)
        assignment.set(search.finish().rows, first)
        progress({ fraction: 0.8 + (0.2 * (first + block.n)) / files.rows, done: first + block.n, unit: 'rows' })
      }
      const counts = new Uint8Array(files.rows)
      for (const row of rows) counts[row] = 1
      for (let row = 0; row < files.rows; row++) if (counts[row] === 0) assignment[row] = -1
      const place = (name: string) => `signals/cells/${work.key.slice(0, 12)}/${name}.npy`
      return {
        outputs: [
          await work.write(place('cells'), writeNpy({ shape: [files.rows], data: assignment })),
          await work.write(place('centroids'), writeNpy({ shape: [count, d], data: unit })),
        ],
        value: { cells: count },
      }
    },
    summary: (value) => counted((value as { cells: number }).cells),
  })
  const [assignment, centroids] = await Promise.all(
    result.outputs.map(async ({ path }) => readNpy(await readFile(run.path(path))).data),
  )
  return {
    assignment: assignment as Int32Array,
    centroids: centroids as Float32Array,
    count,
    hash: result.hash,
  }
}

const counted = (cells: number) => `${cells.toLocaleString('en')} cell${cells === 1 ? '' : 's'}`

/** The rows of each cell, ascending; one of more than `most` rows is dealt in turn into parts of at most so many. Empty ones are left out. */
export function cellRows({ assignment, count }: Pick<Cells, 'assignment' | 'count'>, most: number): Uint32Array[] {
  const sizes = new Uint32Array(count)
  for (const cell of assignment) if (cell >= 0) sizes[cell]++
  const cells = Array.from(sizes, (size) => new Uint32Array(size))
  sizes.fill(0)
  assignment.forEach((cell, row) => {
    if (cell >= 0) cells[cell][sizes[cell]++] = row
  })
  return cells.flatMap((rows) => {
    const parts = Math.ceil(rows.length / most)
    return Array.from({ length: parts }, (_, part) => rows.filter((_, i) => i % parts === part))
  })
}
