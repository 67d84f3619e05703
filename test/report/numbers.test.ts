import { describe, expect, it } from 'vitest'
import { bytes, counted, duration, nats, percent, scaled } from '../../src/report/numbers.ts'

const spaced = (text: string) => text.replaceAll('\u00a0', ' ')

describe('numbers of the report', () => {
  it.each([
    [0, '0 %'],
    [1, '100 %'],
    [0.3, '30.0 %'],
    [0.0042, '0.42 %'],
    [0.00001, '< 0.01 %'],
    [0.9999, '> 99.9 %'],
    [Number.NaN, '–'],
  ])('writes the share %d as %s: almost all is not all, almost none is not none', (share, text) => {
    expect(spaced(percent(share))).toBe(text)
  })

  it.each([
    [0.84, '0.8 s'],
    [9.99, '10.0 s'],
    [48.4, '48 s'],
    [59.7, '1 min 0 s'],
    [134, '2 min 14 s'],
    [3599.6, '1 h 0 min'],
    [3900, '1 h 5 min'],
  ])('writes %d seconds as %s', (seconds, text) => {
    expect(spaced(duration(seconds))).toBe(text)
  })

  it.each([
    [0, '0'],
    [999, '999'],
    [999_999, '1 M'],
    [1_290_000, '1.29 M'],
    [3.2e14, '320 T'],
    [5e22, '5.00e+4 E'],
  ])('scales %d to %s', (value, text) => {
    expect(spaced(scaled(value))).toBe(text)
  })

  it('names what it counts', () => {
    expect([counted(1, 'row'), counted(1500, 'row')].map(spaced)).toEqual(['1 row', '1,500 rows'])
    expect(spaced(bytes(1_390_000))).toBe('1.39 MB')
    expect([nats(2.3456), nats(Number.NaN)]).toEqual(['2.346', '–'])
  })
})
