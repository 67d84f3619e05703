/**
 * Frequencies of rotary positions and the ways in which they are stretched for longer contexts, as transformers' ROPE_INIT_FUNCTIONS computes
 * them. Pure numbers: engine/operators/attention.ts turns by them.
 */

/** How a model's frequencies differ from theta^(-2j/dims). Keys of config.json in camel case. */
export type RotaryScaling =
  /** All angles divided by `factor` (Chen et al. 2023, arXiv 2306.15595). */
  | { type: 'linear'; factor: number }
  /** Grows with sequences longer than the model's own; equal to no scaling up to there, and winnow goes no further. */
  | { type: 'dynamic' }
  /** Llama 3.1: long wavelengths divided by `factor`, short ones kept, a ramp between. */
  | { type: 'llama3'; factor: number; lowFrequencyFactor: number; highFrequencyFactor: number; originalLength: number }
  /** Peng et al. 2023, arXiv 2309.00071. */
  | {
      type: 'yarn'
      factor: number
      originalLength: number
      attentionFactor: number
      betaFast: number
      betaSlow: number
      /** Whether the ends of the ramp are whole pairs. */
      truncate: boolean
    }
  /** Ding et al. 2024, arXiv 2402.13753, up to `originalLength`: beyond it other factors would hold. */
  | { type: 'longrope'; shortFactors: readonly number[]; originalLength: number; attentionFactor: number }

export interface RotarySettings {
  /** Base of the frequencies. */
  theta: number
  /** Dimensions of a head that turn: even. */
  dims: number
  scaling?: RotaryScaling
}

export interface RotaryFrequencies {
  /** Angle per position of each pair, [dims / 2]. */
  frequencies: number[]
  /** What cosines and sines are multiplied by. */
  factor: number
}

/**
 * The frequencies of `dims` rotated dimensions: theta^(-2j/dims), scaled. Rounded to float32 where transformers rounds, so that angles
 * agree at far positions too; YaRN's ramp, which transformers computes in float32, agrees to 3e-6. O(dims).
 */
export function rotaryFrequencies({ theta, dims, scaling }: RotarySettings): RotaryFrequencies {
  const plain = Array.from({ length: dims / 2 }, (_, j) =>
    Math.fround(1 / Math.fround(theta ** Math.fround((2 * j) / dims))),
  )
  const scaled = (frequencies: number[], factor = 1) => ({ frequencies: frequencies.map(Math.fround), factor })
  switch (scaling?.type) {
    case undefined:
    case 'dynamic':
      return { frequencies: plain, factor: 1 }
    case 'linear':
      return scaled(plain.map((frequency) => frequency / scaling.factor))
    case 'llama3': {
      const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalLength } = scaling
      return scaled(
        plain.map((frequency) => {
          // Full turns over the original context: at most `low`, interpolate; at least `high`, keep.
          const turns = (originalLength * frequency) / (2 * Math.PI)
          if (turns < low) return frequency / factor
          if (turns > high) return frequency
          const smooth = (turns - low) / (high - low)
          return ((1 - smooth) * frequency) / factor + smooth * frequency
        }),
      )
    }
    case 'yarn': {
      const ramp = yarnRamp(theta, dims, scaling)
      return scaled(
        plain.map((frequency, j) => (frequency / scaling.factor) * ramp(j) + frequency * (1 - ramp(j))),
        scaling.attentionFactor,
      )
    }
    case 'longrope':
      return scaled(
        plain.map((frequency, j) => frequency / scaling.shortFactors[j]),
        scaling.attentionFactor,
      )
  }
}

/** Share of interpolation at pair j: 0 where it turns more than betaFast times over the original context, 1 where less than betaSlow times. */
function yarnRamp(theta: number, dims: number, scaling: RotaryScaling & { type: 'yarn' }): (j: number) => number {
  const { originalLength, betaFast, betaSlow, truncate } = scaling
  const pairOf = (turns: number) => (dims * Math.log(originalLength / (turns * 2 * Math.PI))) / (2 * Math.log(theta))
  const [fast, slow] = [pairOf(betaFast), pairOf(betaSlow)]
  const low = Math.max(truncate ? Math.floor(fast) : fast, 0)
  const end = Math.min(truncate ? Math.ceil(slow) : slow, dims - 1)
  const high = end === low ? end + 0.001 : end
  return (j) => Math.min(1, Math.max(0, (j - low) / (high - low)))
}

/** YaRN's attention factor where config.json names none: 0.1 mscale ln(factor) + 1, or the ratio of two such. */
export function yarnAttentionFactor(factor: number, mscale?: number, mscaleAllDims?: number): number {
  const attention = (weight: number) => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1)
  return mscale && mscaleAllDims ? attention(mscale) / attention(mscaleAllDims) : attention(1)
}

/** LongRoPE's attention factor where config.json names none: sqrt(1 + ln(factor) / ln(original length)). */
export function longropeAttentionFactor(factor: number, originalLength: number): number {
  return factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalLength))
}
