/**
 * Draws docs/figures/effective.svg: how far a model's effective distribution is from the target as it is trained on the picks of several
 * methods, on the problem of the mode figure. With --seeds it draws nothing and tabulates the problems of that many seeds.
 * Usage: node scripts/effective-figure.ts [--seeds 20]
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import { type EffectiveCost, effectiveCosts, effectiveSlope } from '../src/analysis/effective.ts'
import { randomStream, sample } from '../src/random/philox.ts'
import { sinkhorn } from '../src/transport/sinkhorn.ts'
import { costs, lowest, modeProblem, potentials, roundRobin } from './mode-figure.ts'

const BUDGET = 100
/** The mean cost is 4 inside a mode and 20 between them: small enough for the plan to be nearly the exact one. */
export const EPSILON = 0.5
export const LAMBDAS = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]

export interface Curve {
  name: string
  /** Of the regularised cost at lambda 0. */
  slope: number
  costs: EffectiveCost[]
}

const vectorsOf = (rows: readonly Float64Array[]) => ({
  data: Float32Array.from(rows.flatMap((row) => Array.from(row))),
  n: rows.length,
  d: rows[0].length,
})

/** Costs of the effective distribution by lambda, for each way of picking 100 rows. */
export async function effectiveCurves(seed: number, lambdas: readonly number[] = LAMBDAS): Promise<Curve[]> {
  const problem = modeProblem(seed)
  const [pool, target] = [vectorsOf(problem.pool), vectorsOf(problem.target)]
  const options = { epsilon: EPSILON, threshold: 1e-6 }
  const { candidatePotential } = await sinkhorn({ targets: target, candidates: pool }, options)
  const cost = costs(problem)
  const every = Uint32Array.from({ length: pool.n }, (_, row) => row)
  const picks: [string, ArrayLike<number>][] = [
    ['GOT-D', lowest(candidatePotential)],
    ['TAPT/c', roundRobin(cost)],
    ['nearest neighbours', lowest(potentials(cost, new Float64Array(target.n), EPSILON))],
    ['random', sample(every, BUDGET, randomStream(seed, 'effective figure'))],
  ]
  const curves: Curve[] = []
  for (const [name, pick] of picks)
    curves.push({
      name,
      slope: effectiveSlope(candidatePotential, pick),
      costs: await effectiveCosts({ pool, target, pick, lambdas, options }),
    })
  return curves
}

const COLOURS: Record<string, string> = {
  'GOT-D': '#c4500c',
  'TAPT/c': '#0b5cad',
  'nearest neighbours': '#5c9bd6',
  random: '#8a94a3',
}
const SIZE = { width: 720, height: 340 }
const SVG = 'http://www.w3.org/2000/svg'

/** The figure as an SVG document. */
export async function effectiveFigure(seed = 1): Promise<string> {
  const curves = await effectiveCurves(seed)
  const points = curves.flatMap(({ name, costs: of }) =>
    of.map(({ lambda, transportCost }) => ({ name, lambda, transportCost })),
  )
  type Point = (typeof points)[number]
  const { document } = parseHTML('<!doctype html><html><body></body></html>')
  const svg = Plot.plot({
    ...{ ...SIZE, marginLeft: 48, marginRight: 138, marginTop: 34, marginBottom: 42, document, className: 'effective' },
    x: { label: 'lambda: share of the pick in the effective distribution', labelAnchor: 'center', ticks: 6 },
    y: { label: 'transport cost to the target', grid: true, zero: true, nice: true },
    color: { type: 'identity' },
    marks: [
      Plot.line(points, { x: 'lambda', y: 'transportCost', z: 'name', stroke: colourOf, strokeWidth: 2 }),
      Plot.dot(points, { x: 'lambda', y: 'transportCost', fill: colourOf, r: 2.5 }),
      Plot.text(
        points.filter(({ lambda }) => lambda === 1),
        { x: 'lambda', y: 'transportCost', text: 'name', textAnchor: 'start', dx: 8, fill: colourOf, fontSize: 12 },
      ),
    ],
  } as Plot.PlotOptions) as unknown as {
    outerHTML: string
    setAttribute(name: string, value: string): void
    querySelectorAll(selector: string): Iterable<{ remove(): void }>
  }
  for (const style of [...svg.querySelectorAll('style')]) style.remove()
  const at = (name: string, lambda: number) =>
    (points.find((point) => point.name === name && point.lambda === lambda) as Point).transportCost.toFixed(2)
  const title = 'How far the effective distribution is from the target, by the share of the pick in it'
  const description = `At lambda 0 the cost is ${at('random', 0)}. ${curves
    .map(({ name }) => `${name}: ${at(name, 0.2)} at 0.2, ${at(name, 0.5)} at 0.5, ${at(name, 1)} at 1`)
    .join('; ')}.`
  // Tenths of a pixel: the last bits of a cost are the machine's.
  const body = svg.outerHTML.replace(/-?\d+\.\d{2,}/g, (number) => String(Number(Number(number).toFixed(1))))
  return (
    `<svg xmlns="${SVG}" viewBox="0 0 ${SIZE.width} ${SIZE.height}" width="${SIZE.width}" height="${SIZE.height}" role="img" aria-labelledby="effective-title effective-desc" font-family="system-ui, sans-serif" color="#1b2330">\n` +
    `<title id="effective-title">${title}</title>\n<desc id="effective-desc">${description}</desc>\n` +
    `<rect width="100%" height="100%" rx="8" fill="#ffffff"/>\n${body}\n</svg>\n`
  )

  function colourOf({ name }: Point) {
    return COLOURS[name]
  }
}

/** Mean, least and most cost over the problems of seeds 1 … `seeds`. */
async function tabulate(seeds: number): Promise<void> {
  const lambdas = [0, 0.1, 0.2, 0.3, 0.5, 0.7, 1]
  const found = new Map<string, Curve[]>()
  for (let seed = 1; seed <= seeds; seed++)
    for (const curve of await effectiveCurves(seed, lambdas))
      found.set(curve.name, [...(found.get(curve.name) ?? []), curve])
  for (const [name, curves] of found) {
    const over = (of: (curve: Curve) => number) => {
      const values = curves.map(of)
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length
      return `${mean.toFixed(2)} (${Math.min(...values).toFixed(2)}-${Math.max(...values).toFixed(2)})`
    }
    const figures = lambdas.map((lambda, i) => `${lambda}: ${over(({ costs: of }) => of[i].transportCost)}`)
    console.log(`${name}, slope ${over(({ slope }) => slope)}: ${figures.join(', ')}`)
  }
}

if (import.meta.main) {
  const at = process.argv.indexOf('--seeds')
  if (at > 0) await tabulate(Number(process.argv[at + 1]))
  else {
    const folder = fileURLToPath(new URL('../docs/figures/', import.meta.url))
    mkdirSync(folder, { recursive: true })
    writeFileSync(`${folder}effective.svg`, await effectiveFigure())
  }
}
