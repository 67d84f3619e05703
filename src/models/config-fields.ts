/** Values of a config.json, each checked as it is read; null counts as missing, as transformers writes what is not set. */

import { WinnowError } from '../errors.ts'
import { type Activation, activations } from './activation.ts'

export interface ConfigFields {
  readonly raw: Readonly<Record<string, unknown>>
  /** Whether the key is there with a value other than null. */
  has(key: string): boolean
  /** A positive integer, `most` at the largest. */
  size(key: string, fallback: number, most?: number): number
  /** A positive integer, or nothing. */
  maybeSize(key: string): number | undefined
  /** A number above 0. */
  number(key: string, fallback: number): number
  maybeNumber(key: string): number | undefined
  boolean(key: string, fallback: boolean): boolean
  maybeString(key: string): string | undefined
  /** An object's fields, named `key.…` in errors. */
  maybeObject(key: string): ConfigFields | undefined
  /** A list of numbers above 0 of this length. */
  numbers(key: string, length: number): number[]
  activation(key: string, fallback: string): Activation
  /** An error that names the key, what it holds and what is supported. */
  unsupported(key: string, fault: { message: string; found?: string; expected?: string; hint?: string }): WinnowError
}

/** Reads `raw`; `file` is named in errors, `prefix` stands before keys there. */
export function configFields(raw: Readonly<Record<string, unknown>>, file?: string, prefix = ''): ConfigFields {
  const has = (key: string) => raw[key] !== undefined && raw[key] !== null
  const fail = (
    code: string,
    key: string,
    message: string,
    rest: { expected?: string; found?: string; hint?: string },
  ) => new WinnowError('input', { code, message, file, path: prefix + key, found: described(raw[key]), ...rest })
  const invalid = (key: string, expected: string) =>
    fail('invalid-model-config', key, `the model's ${prefix}${key} is not usable`, { expected })
  const fields: ConfigFields = {
    raw,
    has,
    maybeSize(key) {
      const value = has(key) ? raw[key] : undefined
      if (value !== undefined && !(Number.isSafeInteger(value) && (value as number) > 0))
        throw invalid(key, 'a positive integer')
      return value as number | undefined
    },
    size(key, fallback, most = Number.MAX_SAFE_INTEGER) {
      const value = fields.maybeSize(key) ?? fallback
      if (value > most) throw invalid(key, `at most ${most}`)
      return value
    },
    maybeNumber(key) {
      const value = has(key) ? raw[key] : undefined
      if (value !== undefined && !(typeof value === 'number' && Number.isFinite(value) && value > 0))
        throw invalid(key, 'a number above 0')
      return value as number | undefined
    },
    number: (key, fallback) => fields.maybeNumber(key) ?? fallback,
    boolean(key, fallback) {
      const value = has(key) ? raw[key] : fallback
      if (typeof value !== 'boolean') throw invalid(key, 'true or false')
      return value
    },
    maybeString(key) {
      const value = has(key) ? raw[key] : undefined
      if (value !== undefined && typeof value !== 'string') throw invalid(key, 'a text')
      return value as string | undefined
    },
    maybeObject(key) {
      if (!has(key)) return undefined
      const value = raw[key]
      if (typeof value !== 'object' || Array.isArray(value)) throw invalid(key, 'an object')
      return configFields(value as Record<string, unknown>, file, `${prefix}${key}.`)
    },
    numbers(key, length) {
      const value = raw[key]
      const fits = Array.isArray(value) && value.length === length && value.every((x) => Number.isFinite(x) && x > 0)
      if (!fits) throw invalid(key, `${length} numbers above 0`)
      return value
    },
    activation(key, fallback) {
      const name = fields.maybeString(key) ?? fallback
      if (Object.hasOwn(activations, name)) return activations[name]
      throw fields.unsupported(key, {
        message: `the activation '${name}' is not supported`,
        expected: Object.keys(activations).join(', '),
      })
    },
    unsupported: (key, { message, ...rest }) => fail('unsupported-model', key, message, rest),
  }
  return fields
}

/** A value as an error shows it: short. */
function described(value: unknown): string {
  if (value === undefined) return 'nothing'
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}
