/** Numbers as the terminal shows them: those of the report, with ordinary spaces, so that what is copied can be pasted. */

import * as report from '../report/numbers.ts'

const ordinary =
  <A extends unknown[]>(format: (...values: A) => string) =>
  (...values: A) =>
    format(...values).replaceAll('\u00a0', ' ')

export const { count, nats } = report
export const counted = ordinary(report.counted)
export const percent = ordinary(report.percent)
export const duration = ordinary(report.duration)
export const scaled = ordinary(report.scaled)
export const bytes = ordinary(report.bytes)
