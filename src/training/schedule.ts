/** Learning-rate schedules and the evenly spaced steps at which losses are recorded. */

export interface CosineSchedule {
  peak: number
  /** Steps of linear warm-up from 0. */
  warmup: number
  /** All steps; the rate would reach `floor` at the step after the last. */
  steps: number
  /** Default 0. */
  floor?: number
}

/** Linear warm-up, then half a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983). `step` counts from 1. */
export function cosineRate({ peak, warmup, steps, floor = 0 }: CosineSchedule, step: number): number {
  if (step <= warmup) return (peak * step) / warmup
  const progress = (step - 1 - warmup) / Math.max(1, steps - warmup)
  return floor + (peak - floor) * 0.5 * (1 + Math.cos(Math.PI * Math.min(1, progress)))
}

/** Steps of the T checkpoints: round(k S / T), k = 1..T, so the last is the end of the run. Needs S >= T. */
export function checkpointSteps(steps: number, checkpoints: number): number[] {
  if (checkpoints > steps) throw new RangeError(`${checkpoints} checkpoints do not fit into ${steps} steps`)
  return Array.from({ length: checkpoints }, (_, k) => Math.round(((k + 1) * steps) / checkpoints))
}
