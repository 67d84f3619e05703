/** How much to select: `30%` of the rows, `5000` rows, or training tokens (`500ktok`, `2Mtok`, `1.5Gtok`). */

import { WinnowError } from '../errors.ts'
import type { Notice } from './method.ts'

/** A budget as written, before the pool is known. */
export type Budget =
  | { unit: 'rows'; text: string; rows: number }
  | { unit: 'tokens'; text: string; tokens: number }
  /** numerator / denominator of the rows, exact: 12.5 % is 125 / 1000. */
  | { unit: 'share'; text: string; numerator: number; denominator: number }

/** A budget for one pool. */
export type ResolvedBudget = { unit: 'rows'; rows: number } | { unit: 'tokens'; tokens: number }

const FORMS = '30% (of the rows), 5000 (rows), 500ktok or 2Mtok (training tokens)'
const SCALE: Record<string, number> = { '': 1, k: 1e3, m: 1e6, g: 1e9 }

function badBudget(text: string, message: string, hint = `Write ${FORMS}.`): WinnowError {
  return new WinnowError('usage', { code: 'bad-budget', message, path: '--budget', found: text, hint })
}

/** The digits of a decimal number as a whole number and the power of ten below it: 12.50 is 1250 / 100. */
function exactDecimal(digits: string): { numerator: number; denominator: number } {
  const [whole, fraction = ''] = digits.split('.')
  return { numerator: Number(whole + fraction), denominator: 10 ** fraction.length }
}

/**
 * Read a budget. Letters may be of either case; `tok` may be `tokens`. The number is decimal with a point.
 *
 * @throws {WinnowError} `bad-budget` for zero, fractions of rows or tokens, more than 100 %, and anything else.
 */
export function parseBudget(text: string): Budget {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)(?:\s*(%)|\s*([kmg]?)\s*(tok|tokens?))?$/i.exec(text.trim())
  if (match === null) throw badBudget(text, 'the budget is not understood', hintFor(text))
  const [, digits, percent, prefix = '', tokens] = match
  const { numerator, denominator } = exactDecimal(digits)
  if (numerator === 0) throw badBudget(text, 'the budget selects nothing')
  if (percent !== undefined) {
    if (numerator > 100 * denominator) throw badBudget(text, 'the budget is more than the whole pool')
    return { unit: 'share', text, numerator, denominator: 100 * denominator }
  }
  if (tokens !== undefined) {
    const count = (numerator * SCALE[prefix.toLowerCase()]) / denominator
    if (!Number.isSafeInteger(count)) throw badBudget(text, 'the budget is not a whole number of tokens')
    return { unit: 'tokens', text, tokens: count }
  }
  if (denominator !== 1 || !Number.isSafeInteger(numerator))
    throw badBudget(
      text,
      'the budget is not a whole number of rows',
      numerator < denominator ? `For a share of the pool write ${Number(digits) * 100}%.` : `Write ${FORMS}.`,
    )
  return { unit: 'rows', text, rows: numerator }
}

function hintFor(text: string): string {
  const grouped = text.trim().replaceAll(/(?<=\d)[,_' ](?=\d{3}\b)/g, '')
  if (grouped !== text.trim() && /^\d+$/.test(grouped)) return `Write the number without separators: ${grouped}.`
  const short = /^(\d+(?:\.\d+)?)\s*([kmg])$/i.exec(text.trim())
  if (short !== null)
    return `Write ${Number(short[1]) * SCALE[short[2].toLowerCase()]} for rows, or ${text.trim()}tok for tokens.`
  if (/^-/.test(text.trim())) return 'A budget is positive.'
  return `Write ${FORMS}.`
}

/**
 * The budget for a pool of `rows` rows and (for token budgets) `tokens` training tokens, `shortest` in its shortest row. A share is rounded
 * down, so that it is never exceeded.
 *
 * @throws {WinnowError} `bad-budget` for more than the pool has, and for less than one row.
 */
export function resolveBudget(
  budget: Budget,
  pool: { rows: number; tokens?: number; shortest?: number },
): ResolvedBudget {
  if (budget.unit === 'tokens') {
    if (pool.tokens !== undefined && budget.tokens > pool.tokens)
      throw badBudget(
        budget.text,
        `the budget is larger than the pool, which has ${pool.tokens} tokens`,
        `Ask for at most ${pool.tokens}tok, or 100% for everything.`,
      )
    if (pool.shortest !== undefined && budget.tokens < pool.shortest)
      throw badBudget(
        budget.text,
        `the budget holds not one row: the shortest has ${pool.shortest} tokens`,
        'Ask for more tokens, or for a number of rows.',
      )
    return { unit: 'tokens', tokens: budget.tokens }
  }
  if (budget.unit === 'rows') {
    if (budget.rows > pool.rows)
      throw badBudget(
        budget.text,
        `the budget is larger than the pool, which has ${pool.rows} rows`,
        `Ask for at most ${pool.rows}, or 100% for everything.`,
      )
    return { unit: 'rows', rows: budget.rows }
  }
  const rows = Number((BigInt(pool.rows) * BigInt(budget.numerator)) / BigInt(budget.denominator))
  if (rows === 0)
    throw badBudget(
      budget.text,
      `the budget is less than one of ${pool.rows} rows`,
      'Ask for a larger share, or for a number of rows.',
    )
  return { unit: 'rows', rows }
}

/** What a method says where a budget in rows is more than could be selected. */
export function underFilled(budget: ResolvedBudget, selected: number): Notice[] {
  if (budget.unit !== 'rows' || selected >= budget.rows) return []
  return [
    {
      code: 'under-filled',
      message: `only ${selected} rows could be selected; the budget is ${budget.rows}`,
      rows: budget.rows - selected,
    },
  ]
}
