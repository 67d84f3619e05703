/** How much a candidate's weight moves the transport cost. */

/**
 * The calibrated gradient of LAVA (Just et al., ICLR 2023, equation 5): cg_j = g_j - (1 / (n - 1)) sum_{l != j} g_l, which is
 * n / (n - 1) times (g_j - mean g): what the optimal cost changes by, to first order, as mass moves onto candidate j evenly off the
 * others. It sums to 0 over the rows that count, does not change when a constant is added to g, and ranks as g does.
 *
 * @param potential g_j - eps log b_j, [N]: `candidatePotential` of a solve, or a scorer's; of one solve only.
 * @param candidates The rows that count for the mean, as 0-based row numbers; every row gets its value relative to them. Default: all.
 * @returns [N] float64. With a single row that counts, differences from its potential. O(N).
 */
export function calibratedGradient(potential: Float64Array, candidates?: Uint32Array): Float64Array {
  const n = candidates?.length ?? potential.length
  let sum = 0
  if (candidates === undefined) for (const g of potential) sum += g
  else for (const row of candidates) sum += potential[row]
  const mean = sum / n
  const factor = n > 1 ? n / (n - 1) : 1
  return potential.map((g) => factor * (g - mean))
}
