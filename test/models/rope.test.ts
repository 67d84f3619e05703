import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { configFields } from '../../src/models/config-fields.ts'
import { rotaryFrequencies } from '../../src/models/rope.ts'
import { readRotary } from '../../src/models/rope-config.ts'

interface Reference {
  config: Record<string, unknown>
  frequencies: number[]
  factor: number
}

const references: Record<string, Reference> = JSON.parse(
  readFileSync(new URL('../fixtures/models/rope.json', import.meta.url), 'utf8'),
)

function read(config: Record<string, unknown>) {
  const share = Number(config.partial_rotary_factor ?? 1)
  return readRotary(configFields(config), {
    headSize: Number(config.head_dim),
    share,
    theta: Number(config.rope_theta),
    positions: Number(config.max_position_embeddings),
  })
}

describe('rotary frequencies', () => {
  it.each(Object.keys(references))('are those of transformers: %s', (name) => {
    const { config, frequencies, factor } = references[name]
    const found = rotaryFrequencies(read(config).settings)
    expect(found.factor).toBeCloseTo(factor, 12)
    expect(found.frequencies).toHaveLength(frequencies.length)
    found.frequencies.forEach((frequency, j) => {
      expect(Math.abs(frequency / frequencies[j] - 1), `pair ${j}`).toBeLessThan(name.startsWith('YaRN') ? 5e-6 : 1e-6)
    })
  })

  it('are the same in the spelling of transformers 5', () => {
    for (const { config } of Object.values(references)) {
      const { rope_theta, rope_scaling, partial_rotary_factor, ...rest } = config
      const parameters = { ...(rope_scaling as object), rope_theta, partial_rotary_factor }
      expect(read({ ...rest, rope_parameters: parameters })).toEqual(read(config))
    }
  })

  it('take `type` where older files have it for rope_type', () => {
    const scaling = { type: 'linear', factor: 2 }
    const config = { head_dim: 8, max_position_embeddings: 64, rope_theta: 100 }
    expect(read({ ...config, rope_scaling: scaling }).settings.scaling).toEqual(scaling)
  })

  it('hold up to the original length for LongRoPE, and to the whole context for the others', () => {
    expect(read(references.LongRoPE.config).maxLength).toBe(4096)
    expect(read(references['Qwen2.5 with YaRN'].config).maxLength).toBe(32_768)
  })

  it.each([
    ['a kind that is unknown', { rope_type: 'mrope' }, 'rope_scaling.rope_type', /'mrope' is not supported/],
    ['a kind without its factor', { rope_type: 'linear' }, 'rope_scaling.factor', /needs factor/],
    ['a factor that is no number', { rope_type: 'linear', factor: '2' }, 'rope_scaling.factor', /not usable/],
    [
      'another number of LongRoPE factors',
      { rope_type: 'longrope', short_factor: [1, 1] },
      'rope_scaling.short_factor',
      /not usable/,
    ],
    [
      'parameters by layer type',
      { full_attention: { rope_type: 'default' }, sliding_attention: { rope_type: 'default' } },
      'rope_scaling',
      /differ between layers/,
    ],
    ['an odd number of dimensions', { partial_rotary_factor: 0.4 }, 'rope_scaling', /even number/],
  ])('refuse %s', (_, scaling, path, message) => {
    const config = { head_dim: 8, max_position_embeddings: 64, rope_theta: 100, rope_scaling: scaling }
    expect(() => read(config)).toThrow(message)
    expect(() => read(config)).toThrow(expect.objectContaining({ fault: expect.objectContaining({ path }) }))
  })
})
