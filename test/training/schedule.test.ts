import { describe, expect, it } from 'vitest'
import { checkpointSteps, cosineRate } from '../../src/training/schedule.ts'

describe('cosineRate', () => {
  const schedule = { peak: 2, warmup: 4, steps: 12, floor: 0.5 }

  it('warms up linearly, starts the cosine at the peak and falls towards the floor', () => {
    expect([1, 2, 4].map((step) => cosineRate(schedule, step))).toEqual([0.5, 1, 2])
    expect(cosineRate(schedule, 5)).toBe(2)
    expect(cosineRate(schedule, 9)).toBeCloseTo(1.25, 12)
    expect(cosineRate(schedule, 13)).toBeCloseTo(0.5, 12)
  })

  it('falls from step to step after the peak', () => {
    const rates = Array.from({ length: 8 }, (_, i) => cosineRate(schedule, 5 + i))
    expect(rates).toEqual([...rates].sort((a, b) => b - a))
  })
})

describe('checkpointSteps', () => {
  it('are evenly spaced and end with the run', () => {
    expect(checkpointSteps(120, 12)).toEqual([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    expect(checkpointSteps(10, 4)).toEqual([3, 5, 8, 10])
  })

  it('refuse more checkpoints than steps', () => {
    expect(() => checkpointSteps(3, 4)).toThrow(/4 checkpoints/)
  })
})
