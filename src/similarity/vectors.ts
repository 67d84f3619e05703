/** Vectors as kernels take them. */

export interface Vectors {
  /** Row-major [n, d], finite. */
  data: Float32Array
  n: number
  d: number
}
