/**
 * How far to go along an update: x <- (1 - w) x_old + w x_new. Sinkhorn's iteration with a fixed w is, near its end, successive
 * over-relaxation (Lehmann, von Renesse, Sambale & Uschmajew, Optimization Letters 2021): where plain steps shrink the error by eta
 * each, the best w is 2 / (1 + sqrt(1 - eta)), and shrinks it by w - 1; at a smaller w that shrinks it by lambda, Young's formula gives
 * eta = (lambda + w - 1)^2 / (lambda w^2).
 */

export interface Relaxation {
  /** The w to use next. */
  readonly value: number
  /** Tells the error after an iteration with `value`. */
  observe(error: number): void
}

/** Iterations without a lower error, or growth over the lowest, that mean divergence. */
const PATIENCE = 30
const GROWTH = 1e3

/** The w given, until the iteration diverges; then 1. */
export function fixedRelaxation(w: number): Relaxation {
  let value = w
  let [least, since] = [Infinity, 0]
  return {
    get value() {
      return value
    },
    observe(error) {
      since++
      if (error < least) [least, since] = [error, 0]
      if (!(error <= GROWTH * least) || since > PATIENCE) value = 1
    },
  }
}

/** Iterations over which a rate is measured. */
const WINDOW = 6
/** Iterations after a change of w that still show the old errors. */
const SETTLING = 4
/** Iterations without a lower error that a w is given, and those for which the next lower w is then kept, at first. */
const SHORT_PATIENCE = 15
const RESPITE = 20
const MOST = 1.95
/** Errors above say nothing of the rate at the end; those below are float32's noise. */
const LOCAL = 0.2
const NOISE = 1e-6

/** Starts with `start` (plainly), measures the rate and follows it; halves w - 1 for a while, ever longer, where that was too far. */
export function adaptiveRelaxation(start = 1): Relaxation {
  let value = start
  let respite = RESPITE
  let held = 0
  let [least, since] = [Infinity, 0]
  let errors: number[] = []
  const change = (w: number) => {
    value = w
    errors = []
    least = Infinity
    since = 0
  }
  return {
    get value() {
      return value
    },
    observe(error) {
      if (!Number.isFinite(error) || error < NOISE) return
      since++
      held--
      if (error < least) [least, since] = [error, 0]
      if (value > 1 && since > SHORT_PATIENCE) {
        held = respite
        respite *= 2
        return change(1 + (value - 1) / 2)
      }
      errors.push(error)
      if (errors.length <= WINDOW + SETTLING || error > LOCAL || held > 0) return
      const rate = (error / errors[errors.length - 1 - WINDOW]) ** (1 / WINDOW)
      if (!(rate < 1 && rate > value - 1)) return
      const plain = Math.min((rate + value - 1) ** 2 / (rate * value ** 2), 0.9999)
      // Halfway to 2 at most: a rate measured early is not to be trusted further.
      const best = Math.min(2 / (1 + Math.sqrt(1 - plain)), (value + 2) / 2, MOST)
      if (best > value + 0.02) change(best)
    },
  }
}
