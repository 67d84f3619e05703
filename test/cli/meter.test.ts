import fc from 'fast-check'
import { expect, it } from 'vitest'
import { createMeter } from '../../src/cli/meter.ts'

/** A stage of `seconds` at a steady rate, observed every half second, begun at the share `from`. */
function steady({ perSecond, seconds, from = 0, until = seconds }: Record<string, number>) {
  const meter = createMeter()
  for (let now = 0; now <= until; now += 0.5)
    meter.observe(now, { done: perSecond * now, fraction: from + ((1 - from) * now) / seconds })
  return meter
}

it('tells neither rate nor time from one observation', () => {
  const meter = createMeter()
  meter.observe(0, { done: 5, fraction: 0.1 })
  expect([meter.rate(), meter.left(1)]).toEqual([undefined, undefined])
})

it('has no bias at the start: the rate of two observations is theirs', () => {
  const meter = createMeter()
  meter.observe(0, { done: 0, fraction: 0 })
  meter.observe(0.5, { done: 100, fraction: 0.01 })
  expect(meter.rate()).toBeCloseTo(200, 6)
})

it('a steady stage has its rate and its time left, wherever an earlier process had come to', () => {
  const settings = fc.record({
    perSecond: fc.double({ min: 0.1, max: 1e7, noNaN: true }),
    seconds: fc.integer({ min: 20, max: 5000 }),
    from: fc.double({ min: 0, max: 0.9, noNaN: true }),
  })
  fc.assert(
    fc.property(settings, ({ perSecond, seconds, from }) => {
      const until = Math.floor(seconds / 2)
      const meter = steady({ perSecond, seconds, from, until })
      expect(meter.rate()! / perSecond).toBeCloseTo(1, 6)
      const left = meter.left(until)
      // Too little was done to tell.
      if (left === undefined) expect((1 - from) * 0.5).toBeLessThan(0.2)
      else expect(left / (seconds - until)).toBeCloseTo(1, 6)
    }),
  )
})

it('the rate follows a change within about ten seconds', () => {
  const meter = createMeter()
  let done = 0
  for (let now = 0; now <= 60; now += 0.5) {
    meter.observe(now, { done, fraction: now / 100 })
    done += now < 40 ? 50 : 500
  }
  expect(meter.rate()).toBeGreaterThan(950)
})

it('time goes on while nothing is told', () => {
  const meter = steady({ perSecond: 1, seconds: 100, until: 50 })
  expect(meter.left(60)).toBeCloseTo(40, 6)
  expect(meter.left(500)).toBe(0)
})
