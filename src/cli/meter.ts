/** How fast a stage goes and how long it will take. Clocks are the caller's, in seconds. */

export interface Meter {
  /** Takes a new state: units done by this process, and the share of the stage that is done. */
  observe(now: number, state: { done?: number; fraction: number }): void
  /** Units a second over about the last ten seconds; undefined until there are two observations. */
  rate(): number | undefined
  /** Seconds left, from what this process did of the whole; undefined until that can be told. */
  left(now: number): number | undefined
}

/** Time constant of the rate, in seconds. */
const SMOOTHING = 5
/** An estimate is given after this many seconds and this share of the stage. */
const SETTLED_SECONDS = 2
const SETTLED_SHARE = 0.01

/**
 * Rate: exponentially smoothed over time, r <- r + (1 - e^(-dt / 5 s)) (r_now - r), started without bias.
 * Time left: (1 - f) (t - t_0) / (f - f_0), where t_0 and f_0 are those of the first observation, so that what an earlier process did
 * counts as done and not as speed.
 */
export function createMeter(): Meter {
  let first: { now: number; fraction: number } | undefined
  let last: { now: number; done: number; fraction: number } | undefined
  let smoothed = 0
  let weight = 0
  return {
    observe(now, { done = 0, fraction }) {
      first ??= { now, fraction }
      if (last !== undefined) {
        const elapsed = now - last.now
        // Several states in one instant are one observation.
        if (elapsed <= 0) {
          last.fraction = fraction
          return
        }
        const share = 1 - Math.exp(-elapsed / SMOOTHING)
        smoothed += share * (Math.max(0, done - last.done) / elapsed - smoothed)
        weight += share * (1 - weight)
      }
      last = { now, done, fraction }
    },
    rate: () => (weight === 0 ? undefined : smoothed / weight),
    left(now) {
      if (first === undefined || last === undefined) return undefined
      const progressed = last.fraction - first.fraction
      const elapsed = last.now - first.now
      if (elapsed < SETTLED_SECONDS || progressed < SETTLED_SHARE || last.fraction >= 1) return undefined
      return Math.max(0, ((1 - last.fraction) * elapsed) / progressed - (now - last.now))
    },
  }
}
