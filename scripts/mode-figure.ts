/**
 * Draws docs/figures/modes.svg: what GOT-D and nearest neighbours pick for a target of two modes, one of which the pool
 * already covers. The solve is a plain one in float64, apart from the kernels. With --seeds it draws nothing and counts
 * the picks of the problems of that many seeds. Usage: node scripts/mode-figure.ts [--seeds 20]
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import { randomStream } from '../src/random/philox.ts'

const DIMENSIONS = 8
const BUDGET = 100
/** Centres of the two modes, along the first axis. */
const A = -2
const B = 2

export type Group = 'A' | 'B' | 'background'

export interface ModeProblem {
  pool: Float64Array[]
  /** Which mode each row of the pool was drawn from. */
  groups: Group[]
  target: Float64Array[]
}

/** 1,800 + 100 + 100 rows around A, around B and far around both; 50 + 50 target rows. */
export function modeProblem(seed: number): ModeProblem {
  const stream = randomStream(seed, 'mode figure')
  const around = (centre: number, deviation: number) =>
    Float64Array.from({ length: DIMENSIONS }, (_, k) => (k === 0 ? centre : 0) + deviation * stream.normal())
  const rows = (count: number, centre: number, deviation: number) =>
    Array.from({ length: count }, () => around(centre, deviation))
  return {
    pool: [...rows(1800, A, 0.5), ...rows(100, B, 0.5), ...rows(100, 0, 3)],
    groups: Array.from({ length: 2000 }, (_, row) => (row < 1800 ? 'A' : row < 1900 ? 'B' : 'background')),
    target: [...rows(50, A, 0.5), ...rows(50, B, 0.5)],
  }
}

/** Squared distances, [M][N]. */
export function costs({ pool, target }: ModeProblem): Float64Array[] {
  return target.map((t) =>
    Float64Array.from(pool, (x) => x.reduce((sum, value, k) => sum + (value - t[k]) * (value - t[k]), 0)),
  )
}

/**
 * -eps log mean_i exp((f_i - C_ij)/eps) for each pool row: with f = 0, a soft distance to the nearest target row. Where f
 * solves the transport, the row's potential, by which GOT-D ranks (Kang et al., ICLR 2024).
 */
export function potentials(cost: readonly Float64Array[], f: Float64Array, epsilon: number): Float64Array {
  const m = cost.length
  return Float64Array.from(cost[0], (_, j) => {
    let least = Number.POSITIVE_INFINITY
    for (let i = 0; i < m; i++) least = Math.min(least, cost[i][j] - f[i])
    let sum = 0
    for (let i = 0; i < m; i++) sum += Math.exp((least - cost[i][j] + f[i]) / epsilon)
    return least - epsilon * Math.log(sum / m)
  })
}

/** The target's potentials f by Sinkhorn's iteration in logarithms, until they change by less than 1e-9 eps. */
export function solve(cost: readonly Float64Array[], epsilon: number): Float64Array {
  let f = new Float64Array(cost.length)
  for (let iteration = 0; iteration < 10_000; iteration++) {
    const g = potentials(cost, f, epsilon)
    const next = Float64Array.from(cost, (row) => {
      let least = Number.POSITIVE_INFINITY
      for (let j = 0; j < row.length; j++) least = Math.min(least, row[j] - g[j])
      let sum = 0
      for (let j = 0; j < row.length; j++) sum += Math.exp((least - row[j] + g[j]) / epsilon)
      return least - epsilon * Math.log(sum / row.length)
    })
    const change = next.reduce((most, value, i) => Math.max(most, Math.abs(value - f[i])), 0)
    f = next
    if (change < 1e-9 * epsilon) return f
  }
  throw new Error(`no solution with epsilon ${epsilon} after 10,000 iterations`)
}

/** The rows of least score, ties by row. */
export function lowest(scores: Float64Array, count = BUDGET): number[] {
  return [...scores.keys()].sort((a, b) => scores[a] - scores[b] || a - b).slice(0, count)
}

export function counts({ groups }: ModeProblem, rows: readonly number[]): Record<Group, number> {
  const found = { A: 0, B: 0, background: 0 }
  for (const row of rows) found[groups[row]]++
  return found
}

const COLOUR = { paper: '#ffffff', frame: '#dfe3e8', ink: '#1b2330', muted: '#5c6675', pool: '#a3b1c6' }
const PICKED = '#c4500c'
const TARGET = '#0b5cad'
const PANEL = { width: 312, height: 250 }
const SVG = 'http://www.w3.org/2000/svg'

/** The little of the DOM that is used here; the sources are compiled without DOM types. */
interface SvgElement {
  outerHTML: string
  setAttribute(name: string, value: string): void
}
interface Document {
  createElementNS(namespace: string, name: string): SvgElement
}

/** Points as one path of round caps: thousands of circles would make a file of hundreds of kilobytes. */
function cloud(points: readonly Float64Array[], attributes: Record<string, string | number>, cross = 0): Plot.Markish {
  return ((_index: unknown, scales: Plot.ScaleFunctions, _values: unknown, frame: Frame, context: Plot.Context) => {
    const inside = ([px, py]: readonly number[]) =>
      px > frame.marginLeft &&
      px < frame.width - frame.marginRight &&
      py > frame.marginTop &&
      py < frame.height - frame.marginBottom
    const at = points.map((point) => [Number(scales.x!(point[0])), Number(scales.y!(point[1]))]).filter(inside)
    const shape = ([px, py]: readonly number[]) => {
      const [x, y] = [Math.round(px * 10) / 10, Math.round(py * 10) / 10]
      return cross === 0
        ? `M${x},${y}h0`
        : `M${x},${y}m${-cross},${-cross}l${2 * cross},${2 * cross}m0,${-2 * cross}l${-2 * cross},${2 * cross}`
    }
    const path = (context.document as unknown as Document).createElementNS(SVG, 'path')
    path.setAttribute('d', at.map(shape).join(''))
    for (const [name, value] of Object.entries({ fill: 'none', 'stroke-linecap': 'round', ...attributes }))
      path.setAttribute(name, String(value))
    return path
  }) as unknown as Plot.Markish
}
interface Frame {
  width: number
  height: number
  marginLeft: number
  marginRight: number
  marginTop: number
  marginBottom: number
}

function panel(title: string, note: string, marks: Plot.Markish[], left: number): string {
  const { document } = parseHTML('<!doctype html><html><body></body></html>')
  const svg = Plot.plot({
    ...{ ...PANEL, marginLeft: 8, marginRight: 8, marginTop: 48, marginBottom: 8, document, className: 'modes' },
    x: { domain: [-4.5, 4.5], axis: null },
    y: { domain: [-2.98, 2.98], axis: null },
    marks: [
      Plot.frame({ stroke: COLOUR.frame, fill: COLOUR.paper, rx: 4 }),
      ...marks,
      Plot.text(
        [
          ['A', A],
          ['B', B],
        ] as const,
        {
          x: ([, x]: readonly [string, number]) => x,
          y: -2.6,
          text: ([name]: readonly [string, number]) => name,
          fill: COLOUR.ink,
          fontSize: 13,
          fontWeight: 'bold',
        },
      ),
      Plot.text([title], {
        frameAnchor: 'top-left',
        dx: 1,
        dy: -38,
        text: (text: string) => text,
        fill: COLOUR.ink,
        fontSize: 14,
        fontWeight: 'bold',
      }),
      Plot.text([note], {
        frameAnchor: 'top-left',
        dx: 1,
        dy: -19,
        text: (text: string) => text,
        fill: COLOUR.muted,
        fontSize: 12,
      }),
    ],
  } as Plot.PlotOptions) as unknown as SvgElement & { querySelectorAll(selector: string): Iterable<{ remove(): void }> }
  for (const style of [...svg.querySelectorAll('style')]) style.remove()
  svg.setAttribute('x', String(left))
  svg.setAttribute('y', '8')
  return svg.outerHTML
}

function inWords({ A: a, B: b, background }: Record<Group, number>): string {
  const parts = [
    [a, 'around A'],
    [b, 'around B'],
    [background, 'elsewhere'],
  ] as const
  const some = parts.filter(([rows]) => rows > 0)
  return some.length === 1
    ? `all ${some[0][0]} ${some[0][1]}`
    : some.map(([rows, where]) => `${rows} ${where}`).join(', ')
}

/** The figure as an SVG document. */
export function modeFigure(seed = 1, epsilon = 1): string {
  const problem = modeProblem(seed)
  const { pool, target } = problem
  const cost = costs(problem)
  const zero = new Float64Array(target.length)
  const transport = lowest(potentials(cost, solve(cost, epsilon), epsilon))
  const neighbours = lowest(potentials(cost, zero, epsilon))
  const grey = cloud(pool, { stroke: COLOUR.pool, 'stroke-width': 2.2 })
  const picks = (rows: number[]) =>
    cloud(
      rows.map((row) => pool[row]),
      { stroke: PICKED, 'stroke-width': 4 },
    )
  const crosses = cloud(target, { stroke: TARGET, 'stroke-width': 1.4 }, 2.5)
  const width = 3 * PANEL.width + 32
  const title = 'The first 100 rows that GOT-D and nearest neighbours pick for a target of two modes'
  const description =
    `A pool of 2,000 rows in 8 dimensions, of which the first two are drawn: 1,800 around A, 100 around B, 100 spread out. ` +
    `Half of the target is around A, half around B. GOT-D picks ${inWords(counts(problem, transport))}; ` +
    `nearest neighbours pick ${inWords(counts(problem, neighbours))}.`
  const panels = [
    panel('Pool (dots) and target (crosses)', 'pool 1,800 A, 100 B; target 50 A, 50 B', [grey, crosses], 8),
    panel('GOT-D, first 100', inWords(counts(problem, transport)), [grey, picks(transport)], 16 + PANEL.width),
    panel(
      'Nearest neighbours, first 100',
      inWords(counts(problem, neighbours)),
      [grey, picks(neighbours)],
      24 + 2 * PANEL.width,
    ),
  ]
  return (
    `<svg xmlns="${SVG}" viewBox="0 0 ${width} ${PANEL.height + 16}" width="${width}" height="${PANEL.height + 16}" role="img" aria-labelledby="modes-title modes-desc" font-family="system-ui, sans-serif">\n` +
    `<title id="modes-title">${title}</title>\n<desc id="modes-desc">${description}</desc>\n` +
    `<rect width="100%" height="100%" rx="8" fill="${COLOUR.paper}"/>\n${panels.join('\n')}\n</svg>\n`
  )
}

/** TAPT/c: the nearest row of each target row in turn, then the second nearest, …, each row once. */
export function roundRobin(cost: readonly Float64Array[], count = BUDGET): number[] {
  const orders = cost.map((row) => lowest(row, row.length))
  const picked = new Set<number>()
  for (let round = 0; picked.size < count; round++) {
    for (const order of orders) if (picked.size < count) picked.add(order[round])
  }
  return [...picked]
}

/** Mean, fewest and most picks of each group over the problems of seeds 1 … `seeds`. */
function tabulate(seeds: number): void {
  const found = new Map<string, Record<Group, number>[]>()
  for (let seed = 1; seed <= seeds; seed++) {
    const problem = modeProblem(seed)
    const cost = costs(problem)
    const zero = new Float64Array(cost.length)
    const picks: [string, number[]][] = [
      ...[0.1, 1, 5].map((epsilon): [string, number[]] => [
        `GOT-D, eps ${epsilon}`,
        lowest(potentials(cost, solve(cost, epsilon), epsilon)),
      ]),
      ['nearest neighbours, eps 1', lowest(potentials(cost, zero, 1))],
      ['TAPT/c', roundRobin(cost)],
    ]
    for (const [name, rows] of picks) found.set(name, [...(found.get(name) ?? []), counts(problem, rows)])
  }
  for (const [name, all] of found) {
    const figures = (['A', 'B', 'background'] as const).map((group) => {
      const of = all.map((one) => one[group])
      const mean = of.reduce((sum, n) => sum + n, 0) / of.length
      return `${group} ${mean.toFixed(1)} (${Math.min(...of)}-${Math.max(...of)})`
    })
    console.log(`${name}: ${figures.join(', ')}`)
  }
}

if (import.meta.main) {
  const at = process.argv.indexOf('--seeds')
  if (at > 0) tabulate(Number(process.argv[at + 1]))
  else {
    const folder = fileURLToPath(new URL('../docs/figures/', import.meta.url))
    mkdirSync(folder, { recursive: true })
    writeFileSync(`${folder}modes.svg`, modeFigure())
  }
}
