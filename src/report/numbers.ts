/** Numbers as the page writes them: en-US digits, a no-break space before units. */

const NBSP = '\u00a0'
const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })

/** 1,500 */
export function count(value: number): string {
  return whole.format(value)
}

/** `count` with its noun: 1 row, 2 rows. */
export function counted(value: number, singular: string, plural = `${singular}s`): string {
  return `${count(value)}${NBSP}${value === 1 ? singular : plural}`
}

/** A share as a percentage with one decimal; small ones keep two significant digits. 0.3 → 30.0 %. NaN → –. */
export function percent(share: number): string {
  if (!Number.isFinite(share)) return '–'
  const value = share * 100
  if (value === 0) return `0${NBSP}%`
  if (value === 100) return `100${NBSP}%`
  // Rounding must not turn almost all into all, or almost none into none.
  if (value > 99.9) return `>${NBSP}99.9${NBSP}%`
  if (value < 0.01) return `<${NBSP}0.01${NBSP}%`
  return `${value < 1 ? value.toPrecision(2) : value.toFixed(1)}${NBSP}%`
}

/** Nats with three decimals; NaN → –. */
export function nats(value: number): string {
  return Number.isFinite(value) ? value.toFixed(3) : '–'
}

/** Scores and distances: three significant digits, a true minus sign. −0.0213, 1.25, 1,234, 1.20e-7. NaN → –. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  const digits =
    size === 0
      ? '0'
      : size >= 1e7 || size < 1e-4
        ? size.toExponential(2)
        : size >= 999.5
          ? count(size)
          : size.toPrecision(3)
  return value < 0 ? `−${digits}` : digits
}

/** A multiple of a round step, with as many decimals as the step has: −0.35 of 0.05. */
export function stepped(value: number, step: number): string {
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9))
  if (decimals > 6) return figure(value)
  const digits = new Intl.NumberFormat('en-US', { minimumFractionDigits: decimals, maximumFractionDigits: decimals })
  return `${value < -step / 2 ? '−' : ''}${digits.format(Math.abs(value))}`
}

/** 0.8 s, 48 s, 2 min 14 s, 1 h 5 min. */
export function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)}${NBSP}s`
  const total = Math.round(seconds)
  if (total < 60) return `${total}${NBSP}s`
  if (total < 3600) return `${Math.floor(total / 60)}${NBSP}min ${total % 60}${NBSP}s`
  const minutes = Math.round(total / 60)
  return `${count(Math.floor(minutes / 60))}${NBSP}h ${minutes % 60}${NBSP}min`
}

const SCALES = ['', 'k', 'M', 'G', 'T', 'P', 'E'] as const

/** Three significant digits with an SI prefix: 1,290,000 → 1.29 M. Beyond E: powers of ten. */
export function scaled(value: number, unit = ''): string {
  if (!Number.isFinite(value)) return '–'
  let scale = 0
  let rest = value
  while (Number(rest.toPrecision(3)) >= 1000 && scale < SCALES.length - 1) {
    rest /= 1000
    scale++
  }
  const digits = rest >= 1000 ? rest.toExponential(2) : String(Number(rest.toPrecision(3)))
  const suffix = `${SCALES[scale]}${unit}`
  return suffix === '' ? digits : `${digits}${NBSP}${suffix}`
}

/** Bytes with a decimal prefix: 1.39 MB. */
export function bytes(value: number): string {
  return scaled(value, 'B')
}
