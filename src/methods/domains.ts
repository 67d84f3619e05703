/** The domain test of GOT-D (METHODS 2, step 1): which sources of a pool are near enough to the target to be picked from. */

import type { Signal } from '../signals/signal.ts'

export interface DomainDistance {
  /** Code of the `source` signal; 0 of a pool without sources. */
  code: number
  name: string
  /** Rows, first copies only where copies are collapsed. */
  rows: number
  /** Transport cost to the target; NaN where none of its rows has a vector. */
  distance: number
}

/** Domains by ascending distance (NaN last), ties by code. `counts`: 1 for each row that counts; default: all. O(N + D log D). */
export function domainDistances(
  distance: Signal,
  source: Signal | undefined,
  counts?: ArrayLike<number>,
): DomainDistance[] {
  const found = new Map<number, DomainDistance>()
  for (let row = 0; row < distance.rows; row++) {
    const code = source?.data[row] ?? 0
    let domain = found.get(code)
    if (domain === undefined) {
      domain = { code, name: source?.labels?.[code] ?? '', rows: 0, distance: distance.data[row] }
      found.set(code, domain)
    }
    if (counts === undefined || counts[row] !== 0) domain.rows++
  }
  const order = ({ distance: far }: DomainDistance) => (Number.isNaN(far) ? Number.MAX_VALUE : far)
  return [...found.values()].sort((a, b) => order(a) - order(b) || a.code - b.code)
}

/** Codes of the domains that are kept: the `most` nearest, and as many of the next ones as it takes to hold `rows` rows. `all`: every one. */
export function nearestDomains(domains: readonly DomainDistance[], most: number | 'all', rows: number): Set<number> {
  const kept = new Set<number>()
  let held = 0
  for (const domain of domains) {
    if (most !== 'all' && kept.size >= most && held >= rows) break
    kept.add(domain.code)
    held += domain.rows
  }
  return kept
}
