/** Activations by the names that config.json gives them (transformers' ACT2FN). */

import { gelu, relu } from '../engine/operators/activation.ts'
import { multiply, sigmoid, swiglu } from '../engine/operators/elementwise.ts'
import type { Tensor } from '../engine/tensor.ts'

const functions = {
  silu: (x: Tensor) => multiply(x, sigmoid(x)),
  relu,
  gelu: (x: Tensor) => gelu(x, 'erf'),
  gelu_new: (x: Tensor) => gelu(x, 'tanh'),
}

export type Activation = keyof typeof functions

/** Names of config.json and what they mean here; the approximations of GELU by tanh are one function. */
export const activations: Readonly<Record<string, Activation>> = {
  silu: 'silu',
  swish: 'silu',
  relu: 'relu',
  gelu: 'gelu',
  gelu_python: 'gelu',
  gelu_new: 'gelu_new',
  gelu_fast: 'gelu_new',
  gelu_pytorch_tanh: 'gelu_new',
  gelu_python_tanh: 'gelu_new',
}

/** act(x), elementwise. */
export const activate = (name: Activation, x: Tensor): Tensor => functions[name](x)

/** act(gate) * up, elementwise. */
export const gated = (name: Activation, gate: Tensor, up: Tensor): Tensor =>
  name === 'silu' ? swiglu(gate, up) : multiply(activate(name, gate), up)
