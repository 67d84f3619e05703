/** Activation recomputation: a stretch of a graph whose inner values are computed again for the gradient instead of being kept. */

import { pullback } from './gradient.ts'
import { apply, type Node, type Tensor } from './tensor.ts'

/**
 * build(x), of which only x is kept until the backward pass; that pass computes the rest again, at the price of one more forward pass.
 * Same values, same gradients. `build` must make the same graph each time it is called, from x and graph inputs alone. Source: Chen et
 * al. 2016, arXiv 1604.06174.
 */
export function recomputed(build: (x: Tensor) => Tensor, x: Tensor): Tensor {
  const y = build(x)
  const parameters = inputsBetween(x, y)
  return apply({
    operator: 'recomputed',
    inputs: [y, x, ...parameters],
    types: [{ shape: y.shape, dtype: y.dtype }],
    interpret: ([value]) => [value],
    gradient: ([upstream]) => {
      const again = after(x, upstream as Tensor)
      return [undefined, ...pullback(build(again), upstream as Tensor, [again, ...parameters])]
    },
    lower: (_, [name]) => [name],
  })[0]
}

/** float32 graph inputs that `y` depends on by ways that do not lead through `x`. */
function inputsBetween(x: Tensor, y: Tensor): Tensor[] {
  const seen = new Set<Node>([x.node])
  const pending = [y.node]
  const found: Tensor[] = []
  while (pending.length > 0) {
    const node = pending.pop() as Node
    if (seen.has(node)) continue
    seen.add(node)
    if (node.name !== undefined && node.outputs[0].dtype === 'float32') found.push(node.outputs[0])
    for (const { node: before } of node.inputs) pending.push(before)
  }
  return found.sort((a, b) => a.node.id - b.node.id)
}

/**
 * x, available only once `signal` is. A runtime computes what it can as early as it can and shares what is computed twice: without this
 * it would compute everything once, early, and keep it. One pass over x.
 */
function after(x: Tensor, signal: Tensor): Tensor {
  return apply({
    operator: 'after',
    inputs: [x, signal],
    types: [{ shape: x.shape, dtype: x.dtype }],
    interpret: ([value]) => [value],
    lower: (lowering, [value, gate]) => {
      const flat = lowering.node('Reshape', [gate, lowering.int64([-1])])
      const first = lowering.node('Slice', [flat, lowering.int64([0]), lowering.int64([1])])
      return [lowering.node('Add', [value, lowering.node('Mul', [first, lowering.scalar(0)])])]
    },
  })[0]
}
