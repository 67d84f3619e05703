/** Activations of feed-forward layers without a gate: GELU in both its forms, ReLU. */

import type { Lowering } from '../onnx/lowering.ts'
import { apply, type NdArray, type Tensor } from '../tensor.ts'

/**
 * GELU: y = x Phi(x), Phi the normal distribution function, elementwise. `erf` is exact (transformers' `gelu`); `tanh` is
 * 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (`gelu_new`, `gelu_pytorch_tanh`). Source: Hendrycks and Gimpel 2016, arXiv 1606.08415.
 * Only x is kept for the gradient.
 */
export function gelu(x: Tensor, form: 'erf' | 'tanh'): Tensor {
  const [y] = apply({
    operator: 'gelu',
    inputs: [x],
    types: [{ shape: x.shape, dtype: x.dtype }],
    interpret: ([value]) => [map(value, (v) => v * share(form, v))],
    gradient: ([upstream]) => [geluGradient(x, y, upstream as Tensor, form)],
    lower: (lowering, inputs) => [lowering.contributed(form === 'erf' ? 'Gelu' : 'FastGelu', inputs)],
  })
  return y
}

/** sqrt(2/pi), of the tanh form, and its cubic term. */
const K = Math.sqrt(2 / Math.PI)
const CUBIC = 0.044715

/** y / x */
const share = (form: 'erf' | 'tanh', x: number) =>
  form === 'erf' ? 0.5 * (1 + erf(x * Math.SQRT1_2)) : 0.5 * (1 + Math.tanh(K * (x + CUBIC * x ** 3)))

/**
 * erf: dx = dy (Phi(x) + x phi(x)), with z = x / sqrt(2) and x phi(x) = (z / e^(z^2)) / sqrt(pi): nine passes.
 * tanh: y = x s, s = sigmoid(p), p = 2 K x (1 + c x^2); dx = dy (s + y (1 - s) p'), p' = 2 K (1 + 3 c x^2): twelve passes.
 */
function geluGradient(x: Tensor, y: Tensor, upstream: Tensor, form: 'erf' | 'tanh'): Tensor {
  return apply({
    operator: 'geluGradient',
    inputs: form === 'erf' ? [x, upstream] : [x, upstream, y],
    types: [{ shape: x.shape, dtype: x.dtype }],
    interpret: ([value, up]) => [map(value, (v, i) => up.data[i] * geluSlope(form, v))],
    lower: (lowering, inputs) => [form === 'erf' ? erfSlope(lowering, inputs) : tanhSlope(lowering, inputs)],
  })[0]
}

function geluSlope(form: 'erf' | 'tanh', x: number): number {
  const s = share(form, x)
  if (form === 'erf') return s + (x * Math.exp(-(x ** 2) / 2)) / Math.sqrt(2 * Math.PI)
  return s + x * s * (1 - s) * 2 * K * (1 + 3 * CUBIC * x ** 2)
}

function erfSlope(lowering: Lowering, [x, up]: readonly string[]): string {
  const z = lowering.node('Mul', [x, lowering.scalar(Math.SQRT1_2)])
  const e = lowering.node('Erf', [z])
  // (1 + e) / 2 lies between 0 and 1, so that HardSigmoid computes it in one pass.
  const phi =
    lowering.target === 'cpu'
      ? lowering.node('HardSigmoid', [e], { alpha: { float: 0.5 }, beta: { float: 0.5 } })
      : lowering.node('Add', [lowering.node('Mul', [e, lowering.scalar(0.5)]), lowering.scalar(0.5)])
  // e^(z^2) overflows to infinity where the quotient is 0.
  const quotient = lowering.node('Div', [z, lowering.node('Exp', [lowering.node('Mul', [z, z])])])
  const density = lowering.node('Mul', [quotient, lowering.scalar(1 / Math.sqrt(Math.PI))])
  return lowering.node('Mul', [lowering.node('Add', [phi, density]), up])
}

function tanhSlope(lowering: Lowering, [x, up, y]: readonly string[]): string {
  const cubic = lowering.node('Mul', [lowering.node('Mul', [x, x]), lowering.scalar(2 * K * CUBIC)])
  const w = lowering.node('Add', [cubic, lowering.scalar(2 * K)])
  const s = lowering.node('Sigmoid', [lowering.node('Mul', [x, w])])
  const slope = lowering.node('Sub', [lowering.node('Mul', [w, lowering.scalar(3)]), lowering.scalar(4 * K)])
  const rest = lowering.node('Sub', [y, lowering.node('Mul', [y, s])])
  return lowering.node('Mul', [lowering.node('Add', [s, lowering.node('Mul', [rest, slope])]), up])
}

/** max(x, 0); its gradient at 0 is 0. */
export function relu(x: Tensor): Tensor {
  const [y] = apply({
    operator: 'relu',
    inputs: [x],
    types: [{ shape: x.shape, dtype: x.dtype }],
    interpret: ([value]) => [map(value, (v) => Math.max(v, 0))],
    gradient: ([upstream]) => [reluGradient(y, upstream as Tensor)],
    lower: (lowering, inputs) => [lowering.node('Relu', inputs)],
  })
  return y
}

/** dx = dy sign(y), for y = relu(x). */
function reluGradient(y: Tensor, upstream: Tensor): Tensor {
  return apply({
    operator: 'reluGradient',
    inputs: [y, upstream],
    types: [{ shape: y.shape, dtype: y.dtype }],
    interpret: ([value, up]) => [map(value, (v, i) => (v > 0 ? up.data[i] : 0))],
    lower: (lowering, [value, up]) => [lowering.node('Mul', [up, lowering.node('Sign', [value])])],
  })[0]
}

const map = ({ shape, data }: NdArray, f: (x: number, i: number) => number): NdArray => ({ shape, data: data.map(f) })

/** erf(x) = 2/sqrt(pi) e^(-x^2) sum over n of 2^n x^(2n+1) / (2n+1)!!: terms of one sign, to the last digits of a float64. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x)
  let total = 0
  for (let n = 0, term = x; Math.abs(term) > 1e-18 * Math.abs(total); n++, term *= (2 * x * x) / (2 * n + 1))
    total += term
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total
}
