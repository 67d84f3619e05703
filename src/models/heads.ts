/** Attention heads: the axes that projections come in, those that attention works on, and the cache of earlier tokens. */

import { causalAttention } from '../engine/operators/attention.ts'
import { cachedAttention, following } from '../engine/operators/cached-attention.ts'
import { reshape, transpose } from '../engine/operators/layout.ts'
import { input, type Tensor } from '../engine/tensor.ts'

/** [batch*length, heads * size] → [batch, heads, length, size] */
export const splitHeads = (x: Tensor, heads: number, size: number): Tensor =>
  transpose(reshape(x, ['batch', 'length', heads, size]), [0, 2, 1, 3])

/** [batch, heads, length, size] → [batch*length, heads * size] */
export function mergeHeads(x: Tensor): Tensor {
  const [, heads, , size] = x.shape as [unknown, number, unknown, number]
  return reshape(transpose(x, [0, 2, 1, 3]), ['batch*length', heads * size])
}

/** What a cached graph reads of the tokens before, and what it gives of its own. */
export interface Cache {
  /** Graph input `lengths`, int32 [batch]: tokens that each row has already. */
  lengths: Tensor
  /** Positions of the new tokens, int32 [batch, length]. */
  positions: Tensor
  layers: CachedLayer[]
}

export interface CachedLayer {
  /** Graph inputs `past/<layer>/keys` and `past/<layer>/values`, [batch, groups, past, size], turned by their positions. */
  past: { keys: Tensor; values: Tensor }
  /** Those of the new tokens, [batch, groups, length, size], to be appended. */
  keys: Tensor
  values: Tensor
}

/** An empty cache; `selfAttention` adds a layer at each call. */
export function cacheInputs(): Cache {
  const lengths = input('lengths', ['batch'], 'int32')
  return { lengths, positions: following(lengths, 'length'), layers: [] }
}

/** Causal attention, with a cache over the keys and values of earlier tokens as well. Shapes as in `causalAttention`. */
export function selfAttention(q: Tensor, k: Tensor, v: Tensor, scale: number, cache?: Cache): Tensor {
  if (cache === undefined) return causalAttention(q, k, v, scale)
  const [batch, groups, , size] = k.shape
  const at = `past/${cache.layers.length}`
  const past = (name: string) => input(`${at}/${name}`, [batch, groups, 'past', size])
  const layer = { past: { keys: past('keys'), values: past('values') }, keys: k, values: v }
  cache.layers.push(layer)
  return cachedAttention(q, k, v, { ...layer.past, lengths: cache.lengths }, scale)
}
