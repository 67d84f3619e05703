/** The domain test of GOT-D (METHODS 2, step 1): which sources of a pool are near enough to the target to be picked from. */

import type { Signal } from '../signals/signal.ts'
import type { SelectionGroup } from './method.ts'

export interface DomainDistance {
  /** Code of the `source` signal; 0 of a pool without sources. */
  code: number
  name: string
  /** Rows that count, and their tokens where those are known. */
  rows: number
  tokens: number
  /** Transport cost to the target; NaN where none of its rows has a vector. */
  distance: number
}

/**
 * Domains by ascending distance (NaN last), ties by code. `counts`: 1 for each row that counts; default: all. `tokens` of each row. O(N + D log D).
 */
export function domainDistances(
  distance: Signal,
  source: Signal | undefined,
  { counts, tokens }: { counts?: ArrayLike<number>; tokens?: ArrayLike<number> } = {},
): DomainDistance[] {
  const found = new Map<number, DomainDistance>()
  for (let row = 0; row < distance.rows; row++) {
    const code = source?.data[row] ?? 0
    let domain = found.get(code)
    if (domain === undefined) {
      domain = { code, name: source?.labels?.[code] ?? '', rows: 0, tokens: 0, distance: distance.data[row] }
      found.set(code, domain)
    }
    if (counts !== undefined && counts[row] === 0) continue
    domain.rows++
    domain.tokens += tokens?.[row] ?? 0
  }
  const order = ({ distance: far }: DomainDistance) => (Number.isNaN(far) ? Number.MAX_VALUE : far)
  return [...found.values()].sort((a, b) => order(a) - order(b) || a.code - b.code)
}

/** Domains as groups of a selection, in their order. A pool without sources has one, without a label. O(selected + D). */
export function domainGroups(
  domains: readonly DomainDistance[],
  source: Signal | undefined,
  selected: Uint32Array,
): SelectionGroup[] {
  const taken = new Map<number, number>()
  for (const row of selected) {
    const code = source?.data[row] ?? 0
    taken.set(code, (taken.get(code) ?? 0) + 1)
  }
  return domains.map(({ code, name, rows }) => ({
    id: code,
    ...(source && { label: name }),
    rows,
    selected: taken.get(code) ?? 0,
  }))
}

export interface KeptDomains {
  /** Codes. */
  codes: Set<number>
  /** Domains beyond the number asked for that the budget brought in. */
  beyond: number
}

/** Times the budget that candidates hold at least: with no more than the budget, gradients would decide nothing. */
const CHOICE = 2

/**
 * The domains to pick from, nearest first; those without a row that counts are passed over. `auto`: the 2 nearest, and as many of the next ones as it
 * takes to hold `CHOICE` times what the budget asks for, measured by `sizeOf` (rows or tokens). A number: so many, and no more. `all`: every one.
 */
export function nearestDomains(
  domains: readonly DomainDistance[],
  most: 'auto' | 'all' | number,
  { asked, sizeOf }: { asked: number; sizeOf: (domain: DomainDistance) => number },
): KeptDomains {
  const codes = new Set<number>()
  let [held, beyond] = [0, 0]
  for (const domain of domains) {
    if (domain.rows === 0) continue
    if (most === 'auto' && codes.size >= AUTO) {
      if (held >= CHOICE * asked) break
      beyond++
    }
    if (typeof most === 'number' && codes.size >= most) break
    codes.add(domain.code)
    held += sizeOf(domain)
  }
  return { codes, beyond }
}

/** Nearest domains that `auto` keeps (METHODS 2, step 1). */
const AUTO = 2
