/**
 * Shapes whose dimensions are numbers or names. A named dimension (`batch`, `length`, `labels`) is known only when a graph
 * runs, so that one compiled session serves every batch shape. Products of names are written `batch*length`.
 */

export type Dim = number | string
export type Shape = readonly Dim[]
/** Values of the named dimensions of one run. */
export type Dims = ReadonlyMap<string, number>

export const formatShape = (shape: Shape): string => `[${shape.join(', ')}]`

/** A product of dimensions in canonical form: 3, `batch`, `4*batch*length`. */
export function product(dims: Shape): Dim {
  let factor = 1
  const names: string[] = []
  for (const part of dims.join('*').split('*')) {
    if (/^\d+$/.test(part)) factor *= Number(part)
    else if (part !== '') names.push(part)
  }
  if (names.length === 0) return factor
  names.sort()
  return factor === 1 ? names.join('*') : [factor, ...names].join('*')
}

export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((dim, i) => dim === b[i])

/** The value of a dimension in one run. */
export function dimValue(dim: Dim, dims: Dims): number {
  if (typeof dim === 'number') return dim
  let value = 1
  for (const part of dim.split('*')) {
    const known = /^\d+$/.test(part) ? Number(part) : dims.get(part)
    if (known === undefined)
      throw new Error(`dimension '${part}' is unknown: known are ${[...dims.keys()].join(', ') || 'none'}`)
    value *= known
  }
  return value
}

export const shapeValue = (shape: Shape, dims: Dims): number[] => shape.map((dim) => dimValue(dim, dims))

/** NumPy broadcasting of two shapes; names broadcast only with themselves and 1. */
export function broadcastShapes(operator: string, a: Shape, b: Shape): Dim[] {
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, i) => {
    const left = a[i - rank + a.length] ?? 1
    const right = b[i - rank + b.length] ?? 1
    if (left === right || right === 1) return left
    if (left === 1) return right
    throw new Error(`${operator}: shapes ${formatShape(a)} and ${formatShape(b)} do not broadcast`)
  })
}

/** A possibly negative axis as its position. */
export function axisOf(operator: string, shape: Shape, axis: number): number {
  const position = axis < 0 ? axis + shape.length : axis
  if (!(position >= 0 && position < shape.length))
    throw new Error(`${operator}: axis ${axis} is outside ${formatShape(shape)}`)
  return position
}
