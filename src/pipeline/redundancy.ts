/** The stage of SemDeDup: how much each row resembles one that is preferred to it in its cell. */

import { readFile } from 'node:fs/promises'
import { workerThreads } from '../parallel/threads.ts'
import type { Json } from '../runs/hash.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { type Signal, signal } from '../signals/signal.ts'
import { type EarlierSearch, openEarlier } from '../similarity/earlier.ts'
import { NO_ROW } from '../similarity/neighbours.ts'
import { type Among, cellRows, cutCells } from './cells.ts'
import { type Context, perform } from './context.ts'
import type { ResolvedOptions } from './options.ts'
import { gatherVectors } from './vector-files.ts'

/** Mean rows of a cell where their number is not given. */
export const CELL_ROWS = 2048
/** The most rows that are compared with each other, and whose vectors are held at a time. */
const MOST_ROWS = 65_536

interface Likeness extends Among {
  cells: 'auto' | number
  keep: 'hard' | 'easy'
}

const NAMES = ['redundancy', 'near_to', 'cell', 'centroid_similarity'] as const

/**
 * The signals `redundancy` [N], the greatest cosine to a row preferred to it in its cell; `near_to` [N], the first such row; `cell` [N]; and
 * `centroid_similarity` [N]. Cells are those of k-means on unit vectors; a cell of more than 65,536 rows is compared in parts. Preferred is the
 * row farther from the centroid (`hard`) or nearer to it, ties by row. Cells done are kept by a killed run. Memory: vectors of 65,536 rows,
 * 10 d bytes each, and 24 bytes for each row of the pool.
 */
export async function findLikenesses(
  context: Context<ResolvedOptions>,
  { cells: asked, keep, ...among }: Likeness,
): Promise<{ signals: Record<(typeof NAMES)[number], Signal>; hash: string }> {
  const { run, options, signal: stop } = context
  const { files, rows, hash } = among
  const { rows: all, dimensions: d } = files
  const cells = await cutCells(context, among, asked === 'auto' ? Math.ceil(rows.length / CELL_ROWS) : asked)
  const result = await perform<Json>(context, {
    name: 'redundancy',
    // 2: equal vectors have a cosine of exactly 1.
    version: 2,
    inputs: { embeddings: hash, cells: cells.hash },
    options: { keep },
    async execute(work, progress) {
      const parts = cellRows(cells, MOST_ROWS)
      const arrays = {
        redundancy: new Float64Array(all).fill(Number.NaN),
        near_to: new Int32Array(all).fill(-1),
        cell: cells.assignment,
        centroid_similarity: new Float64Array(all).fill(Number.NaN),
      }
      const place = (name: string) => `signals/redundancy/${work.key.slice(0, 12)}/${name.replace('_', '-')}.npy`
      await using search = await openEarlier({
        rows: parts.reduce((most, { length }) => Math.max(most, length), 1),
        dimensions: d,
        parallel: workerThreads(options.threads),
      })
      let done = 0
      for (const [index, group] of groupsOf(parts).entries()) {
        const file = place(`group-${index}`)
        const kept = work.parts.find(({ part }) => part === file)
        const count = group.reduce((total, { length }) => total + length, 0)
        let found: Float64Array
        if (kept?.outputs[0]?.intact) found = readNpy(await readFile(work.path(file))).data as Float64Array
        else {
          found = await compareGroup(group, search, (within) =>
            progress({ fraction: (done + within) / rows.length, done: done + within, unit: 'rows' }),
          )
          const output = await work.write(file, writeNpy({ shape: [count, COLUMNS], data: found }))
          await work.finishPart(file, [output])
        }
        for (let at = 0; at < found.length; at += COLUMNS) {
          const [row, nearTo, similarity, toCentroid] = found.subarray(at, at + COLUMNS)
          arrays.redundancy[row] = similarity
          arrays.near_to[row] = nearTo
          arrays.centroid_similarity[row] = toCentroid
        }
        done += count
      }
      const outputs = []
      for (const name of NAMES)
        outputs.push(await work.write(place(name), writeNpy({ shape: [all], data: arrays[name] })))
      return { outputs, value: { compared: rows.length } }
    },
    summary: (value) => `${(value as { compared: number }).compared.toLocaleString('en')} rows compared`,
  })
  const data = await Promise.all(result.outputs.map(async ({ path }) => readNpy(await readFile(run.path(path))).data))
  const signals = Object.fromEntries(NAMES.map((name, i) => [name, signal(name, data[i])]))
  return { signals: signals as Record<(typeof NAMES)[number], Signal>, hash: result.hash }

  /** Rows [row, near to (-1), similarity (NaN), similarity to the centroid], cell by cell. */
  async function compareGroup(
    group: readonly Uint32Array[],
    search: EarlierSearch,
    tell: (rows: number) => void,
  ): Promise<Float64Array> {
    // Read in the order in which they lie in the files.
    const wanted = Uint32Array.from(group.flatMap((part) => Array.from(part))).sort()
    const { data } = await gatherVectors(files, wanted, { normalise: true, signal: stop })
    const placeOf = new Map(Array.from(wanted, (row, at) => [row, at]))
    const found = new Float64Array(COLUMNS * wanted.length)
    let at = 0
    for (const part of group) {
      stop?.throwIfAborted()
      const { toCentroid, order } = preferred(part)
      const vectors = new Float32Array(part.length * d)
      order.forEach((i, to) => {
        const from = (placeOf.get(part[i]) as number) * d
        vectors.set(data.subarray(from, from + d), to * d)
      })
      const { nearest, similarity } = await search.of({ data: vectors, n: part.length, d })
      order.forEach((i, to) => {
        const near = nearest[to] === NO_ROW ? -1 : part[order[nearest[to]]]
        found.set([part[i], near, similarity[to], toCentroid[i]], at)
        at += COLUMNS
      })
      tell(at / COLUMNS)
    }
    return found

    /** Places in the part, preferred ones first. */
    function preferred(part: Uint32Array) {
      const centroid = cells.assignment[part[0]] * d
      const toCentroid = Float64Array.from(part, (row) => {
        const from = (placeOf.get(row) as number) * d
        let sum = 0
        for (let j = 0; j < d; j++) sum += data[from + j] * cells.centroids[centroid + j]
        return sum
      })
      const sign = keep === 'hard' ? 1 : -1
      const order = Uint32Array.from(part.keys()).sort((a, b) => sign * (toCentroid[a] - toCentroid[b]) || a - b)
      return { toCentroid, order }
    }
  }
}

/** Numbers that a group keeps of a row. */
const COLUMNS = 4

/** Consecutive parts, together of at most MOST_ROWS rows. */
function groupsOf(parts: readonly Uint32Array[]): Uint32Array[][] {
  const groups: Uint32Array[][] = []
  let held = Number.POSITIVE_INFINITY
  for (const part of parts) {
    if (held + part.length > MOST_ROWS) {
      groups.push([])
      held = 0
    }
    groups.at(-1)?.push(part)
    held += part.length
  }
  return groups
}
