/** Float32 bounds that stay on their side of the truth whatever was rounded on the way. */

/** Outweighs the rounding of one float32 addition and of this product: (1 + 2^-22)(1 - 2^-24)^2 > 1. */
export const WIDEN = 1 + 2 ** -22
/** (1 - 2^-22)(1 + 2^-24)^2 < 1. */
export const NARROW = 1 - 2 ** -22
/** The largest float32. */
export const LARGEST = 2 ** 128 - 2 ** 104
/** Below the square root of the largest float32: the most that a float32 square can say about a distance. */
export const FARTHEST = 1.8446e19

/**
 * Relative margin around a distance whose square was summed over d dimensions in float32, fused or not: the sum errs
 * by (d + 2) units of 2^-24, its root by half of that; the rest covers the root, the margin's own product and more.
 */
export const margin = (d: number): number => (d + 8) * 2 ** -24

/** A float32 above v >= 0, by more than float64 rounding. */
export const upward = (v: number): number => Math.fround(v * WIDEN + 2 ** -120)

/** A float32 below v >= 0, by more than float64 rounding, and at most FARTHEST. */
export const downward = (v: number): number => Math.fround(Math.min(v * NARROW - 2 ** -120, FARTHEST))
