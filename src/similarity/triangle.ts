/** The tiles of a symmetric matrix on and below its diagonal, counted row by row: (0, 0), (1, 0), (1, 1), (2, 0), … */

/** Tiles of `side` rows of tiles. */
export const triangleTiles = (side: number): number => (side * (side + 1)) / 2

/** Row and column of a tile. Exact for every count of tiles below 2^50. */
export function triangleTile(index: number): { row: number; column: number } {
  let row = Math.floor((Math.sqrt(8 * index + 1) - 1) / 2)
  while (triangleTiles(row + 1) <= index) row++
  while (triangleTiles(row) > index) row--
  return { row, column: index - triangleTiles(row) }
}
