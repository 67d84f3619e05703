/** Student's t distribution with a whole number of degrees of freedom. */

/**
 * P(T <= t). A finite series (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4): with theta = atan(t / sqrt(df)), the
 * probability A of (-t, t) is sin(theta) times a polynomial in cos^2(theta) for even df, and 2/pi (theta + sin(theta)
 * cos(theta) times such a polynomial) for odd df. O(df).
 */
export function studentProbability(t: number, df: number): number {
  const cosSquared = df / (df + t * t)
  const sin = t / Math.sqrt(df + t * t)
  const even = df % 2 === 0
  let term = 1
  let series = df === 1 ? 0 : 1
  for (let k = even ? 1 : 2; k <= df - 3; k += 2) {
    term *= (k / (k + 1)) * cosSquared
    series += term
  }
  const inside = even
    ? sin * series
    : (2 / Math.PI) * (Math.atan(t / Math.sqrt(df)) + sin * Math.sqrt(cosSquared) * series)
  return (1 + inside) / 2
}

/** From here the quantile is linear in 1/df: what is left, of order 1/df^2, is below 1e-7. */
const LARGE = 5000

/**
 * t with P(T <= t) = probability, in (0, 1), by bisection of the series.
 *
 * @throws {RangeError} for degrees of freedom that are no whole number from 1.
 */
export function studentQuantile(probability: number, df: number): number {
  if (!(Number.isSafeInteger(df) && df >= 1))
    throw new RangeError(`${df} degrees of freedom are no whole number from 1`)
  if (!(probability > 0 && probability < 1)) throw new RangeError(`probability ${probability} is not in (0, 1)`)
  if (probability < 0.5) return -studentQuantile(1 - probability, df)
  if (df > 2 * LARGE) {
    const [t, t2] = [studentQuantile(probability, LARGE), studentQuantile(probability, 2 * LARGE)]
    return 2 * t2 - t + ((t - t2) * 2 * LARGE) / df
  }
  let low = 0
  let high = 1
  while (studentProbability(high, df) < probability && high < 1e300) high *= 2
  for (let step = 0; step < 200; step++) {
    const middle = (low + high) / 2
    if (middle === low || middle === high) break
    if (studentProbability(middle, df) < probability) low = middle
    else high = middle
  }
  return high
}
