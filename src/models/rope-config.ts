/** Rotary positions as a config.json gives them: rope_theta and rope_scaling of transformers 4, rope_parameters of transformers 5. */

import type { ConfigFields } from './config-fields.ts'
import { longropeAttentionFactor, type RotaryScaling, type RotarySettings, yarnAttentionFactor } from './rope.ts'

export interface RotaryDefaults {
  headSize: number
  /** Share of a head that turns, where the rope parameters do not say. */
  share: number
  /** Base, where they do not say. */
  theta: number
  /** max_position_embeddings */
  positions: number
}

export interface RotaryReading {
  settings: RotarySettings
  /** Longest sequence for which these frequencies hold. */
  maxLength: number
}

const supported = 'default, linear, dynamic, llama3, yarn, longrope'

/** Reads them: what the rope parameters say goes before the defaults, which the caller takes from the keys beside them. */
export function readRotary(fields: ConfigFields, defaults: RotaryDefaults): RotaryReading {
  const key = fields.has('rope_scaling') ? 'rope_scaling' : 'rope_parameters'
  const parameters = fields.maybeObject(key)
  if (parameters !== undefined && ['full_attention', 'sliding_attention'].some((layer) => parameters.has(layer))) {
    throw fields.unsupported(key, {
      message: 'rotary positions that differ between layers are not supported',
      expected: 'the same for all layers',
    })
  }
  const theta = parameters?.maybeNumber('rope_theta') ?? defaults.theta
  const share = parameters?.maybeNumber('partial_rotary_factor') ?? defaults.share
  const dims = Math.trunc(defaults.headSize * share)
  if (dims < 2 || dims % 2 !== 0 || dims > defaults.headSize) {
    const beside = ['rotary_pct', 'partial_rotary_factor', 'head_dim'].find((name) => fields.has(name)) ?? 'hidden_size'
    throw fields.unsupported(parameters?.has('partial_rotary_factor') ? key : beside, {
      message: 'rotary positions need an even number of dimensions in each head',
      found: `${dims} of ${defaults.headSize}`,
      expected: 'an even number, no more than the head has',
    })
  }
  if (parameters === undefined) return { settings: { theta, dims }, maxLength: defaults.positions }
  const original = fields.maybeSize('original_max_position_embeddings')
  const originalLength = original ?? parameters.size('original_max_position_embeddings', defaults.positions)
  const scaling = readScaling(parameters, { dims, originalLength, positions: defaults.positions })
  const maxLength = scaling?.type === 'longrope' ? Math.min(originalLength, defaults.positions) : defaults.positions
  return { settings: { theta, dims, ...(scaling && { scaling }) }, maxLength }
}

interface Lengths {
  dims: number
  originalLength: number
  /** max_position_embeddings */
  positions: number
}

function readScaling(
  parameters: ConfigFields,
  { dims, originalLength, positions }: Lengths,
): RotaryScaling | undefined {
  const typeKey = parameters.has('rope_type') ? 'rope_type' : 'type'
  const type = parameters.maybeString(typeKey) ?? 'default'
  const required = (key: string): number => {
    const value = parameters.maybeNumber(key)
    if (value !== undefined) return value
    throw parameters.unsupported(key, {
      message: `scaling of rotary positions by '${type}' needs ${key}`,
      expected: 'a number above 0',
    })
  }
  const ratio = positions / originalLength
  switch (type) {
    case 'default':
      return undefined
    case 'dynamic':
      return { type }
    case 'linear':
      return { type, factor: required('factor') }
    case 'llama3':
      return {
        type,
        factor: required('factor'),
        lowFrequencyFactor: required('low_freq_factor'),
        highFrequencyFactor: required('high_freq_factor'),
        originalLength,
      }
    case 'yarn': {
      const factor = parameters.number('factor', ratio)
      const [mscale, mscaleAllDims] = [parameters.maybeNumber('mscale'), parameters.maybeNumber('mscale_all_dim')]
      return {
        type,
        factor,
        originalLength,
        attentionFactor: parameters.number('attention_factor', yarnAttentionFactor(factor, mscale, mscaleAllDims)),
        betaFast: parameters.number('beta_fast', 32),
        betaSlow: parameters.number('beta_slow', 1),
        truncate: parameters.boolean('truncate', true),
      }
    }
    case 'longrope': {
      const factor = parameters.number('factor', ratio)
      return {
        type,
        shortFactors: parameters.numbers('short_factor', dims / 2),
        originalLength,
        attentionFactor: parameters.number('attention_factor', longropeAttentionFactor(factor, originalLength)),
      }
    }
    default:
      throw parameters.unsupported(typeKey, {
        message: `scaling of rotary positions by '${type}' is not supported`,
        expected: supported,
      })
  }
}
