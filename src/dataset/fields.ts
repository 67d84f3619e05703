/** Fields of a record by name or path, their text, and the `--fields` option. Formats and templates stand on these. */

import { type Fault, WinnowError } from '../errors.ts'

/** One parsed record, before it has turns. */
export type Row = Record<string, unknown>

/**
 * Value of `path` in `row`: the field of exactly that name, else the nested one (`meta.domain`, `choices.0.text`).
 * Undefined where any step is missing.
 */
export function valueAt(row: Row, path: string): unknown {
  if (Object.hasOwn(row, path)) return row[path]
  if (!path.includes('.')) return undefined
  let value: unknown = row
  for (const step of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined
    value = (value as Row)[step]
  }
  return value
}

/** Text of a field: a string as it is, numbers and booleans in JSON's spelling, a list of those joined by line feeds. */
export function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (!Array.isArray(value)) return undefined
  const parts = value.map((item) => (Array.isArray(item) ? undefined : textOf(item)))
  return parts.includes(undefined) ? undefined : parts.join('\n')
}

/** What a value is, in the words of an error message. */
export function kindOf(value: unknown): string {
  if (value === undefined) return 'no such field'
  if (value === null) return 'null'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : `an array of ${value.length}`
  if (typeof value === 'string') return value === '' ? 'an empty string' : 'a string'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

/** Slots that `--fields` can bind, by every name it accepts. */
const SLOTS: Record<string, string> = {
  messages: 'messages',
  conversations: 'messages',
  tools: 'tools',
  system: 'system',
  prompt: 'prompt',
  instruction: 'instruction',
  input: 'input',
  question: 'question',
  chosen: 'chosen',
  response: 'response',
  completion: 'response',
  output: 'response',
  answer: 'response',
  text: 'text',
  source: 'source',
  domain: 'source',
}

/** Slot → field path, as `--fields` gave it. */
export type FieldMap = Record<string, string>

/**
 * Reads `--fields`: `prompt=query,response=reply`, or the same as an object. The left side is what winnow calls it (one of messages, tools, system, prompt,
 * instruction, input, question, chosen, response, text, source, with completion, output, answer, conversations and
 * domain as synonyms), the right side a field of the records, nested with dots.
 * Throws `bad-fields` (usage) on an unknown left side, a repeated one or a missing `=`.
 */
export function parseFields(fields: string | FieldMap): FieldMap {
  const pairs = typeof fields === 'string' ? fields.split(',').map(splitPair) : Object.entries(fields)
  const map: FieldMap = {}
  for (const [name, path] of pairs) {
    const slot = Object.hasOwn(SLOTS, name) ? SLOTS[name] : undefined
    if (slot === undefined) {
      throw new WinnowError('usage', {
        code: 'bad-fields',
        message: `--fields does not know \`${name}\``,
        path: '--fields',
        found: name,
        expected: `one of ${Object.keys(SLOTS).join(', ')}`,
        hint: didYouMean(name, Object.keys(SLOTS)),
      })
    }
    if (path === '' || Object.hasOwn(map, slot)) {
      throw new WinnowError('usage', {
        code: 'bad-fields',
        message: path === '' ? `--fields gives \`${name}\` no field` : `--fields binds \`${slot}\` twice`,
        path: '--fields',
        expected: 'name=field pairs, separated by commas',
        hint: 'For example --fields prompt=query,response=reply.',
      })
    }
    map[slot] = path
  }
  return map
}

function splitPair(pair: string): [string, string] {
  const at = pair.indexOf('=')
  return at < 0 ? [pair.trim(), ''] : [pair.slice(0, at).trim(), pair.slice(at + 1).trim()]
}

/** The fault of naming a field that no sampled row has. */
export function unknownField(
  path: string,
  option: string,
  known: readonly string[],
  file: string,
  rows: number,
): Fault {
  return {
    code: 'unknown-field',
    message: `none of the first ${rows} rows has the field \`${path}\` that ${option} names`,
    file,
    path,
    found: `fields ${listNames(known)}`,
    hint: didYouMean(path, known) ?? 'Name one of the fields found.',
  }
}

/** Field names in backquotes, each with its `note`, for a message: the first 20, each shortened to 60 characters. */
export function listNames(names: readonly string[], note: (name: string) => string = () => ''): string {
  const shown = names
    .slice(0, 20)
    .map((name) => `\`${name.length > 60 ? `${name.slice(0, 60)}…` : name}\`${note(name)}`)
  return [...shown, ...(names.length > 20 ? [`… ${names.length - 20} more`] : [])].join(', ')
}

/** `Did you mean X?` where some candidate is close (edit distance at most a third of the length, or equal but for case). */
export function didYouMean(name: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined
  let least = Math.max(1, Math.floor(name.length / 3)) + 1
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - name.length) >= least) continue
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase())
    if (distance < least) [best, least] = [candidate, distance]
  }
  return best === undefined ? undefined : `Did you mean \`${best}\`?`
}

/** Levenshtein distance over UTF-16 code units. O(a b) time, O(b) memory. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const current = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)
      current[j] = Math.min(previous[j] + 1, current[j - 1] + 1, substitution)
    }
    previous = current
  }
  return previous[b.length]
}
