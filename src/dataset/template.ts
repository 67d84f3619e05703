/**
 * `--template`: how one record becomes text. Literal text with `{field}` placeholders; `{field*}` is a trained field,
 * whose text carries loss. `{{` and `}}` are braces, `\n`, `\t` and `\\` the usual escapes. Literals are never trained.
 */

import { type Fault, WinnowError } from '../errors.ts'
import { kindOf, type Row, textOf, valueAt } from './fields.ts'
import type { Turn } from './record.ts'

export type TemplatePiece = { literal: string } | { path: string; trained: boolean }

const ESCAPES: Record<string, string> = { n: '\n', t: '\t', r: '\r', '\\': '\\' }

/**
 * The pieces of a template, in order. Throws `bad-template` (usage) with the offending column on an unclosed or stray
 * brace, an empty placeholder, or when no placeholder is trained.
 */
export function parseTemplate(template: string): TemplatePiece[] {
  const pieces: TemplatePiece[] = []
  let literal = ''
  let i = 0
  const bad = (message: string, at: number): never => {
    throw new WinnowError('usage', {
      code: 'bad-template',
      message: `--template ${message}`,
      path: `--template, column ${at + 1}`,
      found: JSON.stringify(template),
      expected: 'text with {field} and at least one trained {field*}; {{ and }} are literal braces',
    })
  }
  const flush = () => {
    if (literal !== '') pieces.push({ literal })
    literal = ''
  }
  while (i < template.length) {
    const char = template[i]
    const next = template[i + 1]
    if ((char === '{' || char === '}') && next === char) {
      literal += char
      i += 2
    } else if (char === '\\' && next !== undefined && Object.hasOwn(ESCAPES, next)) {
      literal += ESCAPES[next]
      i += 2
    } else if (char === '{') {
      const end = template.indexOf('}', i)
      if (end < 0) bad('has a brace that is never closed', i)
      const inside = template.slice(i + 1, end).trim()
      const trained = inside.endsWith('*')
      const path = trained ? inside.slice(0, -1).trim() : inside
      if (path === '' || path.includes('{')) bad('has a placeholder without a field name', i)
      flush()
      pieces.push({ path, trained })
      i = end + 1
    } else if (char === '}') bad('has a closing brace without an opening one', i)
    else {
      literal += char
      i++
    }
  }
  flush()
  if (!pieces.some((piece) => 'path' in piece && piece.trained)) bad('trains no field', 0)
  return pieces
}

/** Field paths that a template names, in order, each once. */
export function templatePaths(pieces: readonly TemplatePiece[]): string[] {
  return [...new Set(pieces.flatMap((piece) => ('path' in piece ? [piece.path] : [])))]
}

/**
 * A record's turns by a template: neighbouring pieces with the same mask are one `text` turn. A null field is empty
 * text; a missing field or an object is a fault.
 */
export function applyTemplate(pieces: readonly TemplatePiece[], row: Row): Turn[] | Fault {
  const turns: Turn[] = []
  for (const piece of pieces) {
    let content: string | undefined
    if ('literal' in piece) content = piece.literal
    else {
      const value = valueAt(row, piece.path)
      content = value === null ? '' : textOf(value)
      if (content === undefined) {
        return {
          code: value === undefined ? 'missing-field' : 'wrong-type',
          message:
            value === undefined ? 'the row lacks a field of the template' : 'a field of the template is not text',
          path: piece.path,
          found: kindOf(value),
          expected: 'a string, a number, or a list of them',
        }
      }
    }
    const trained = 'path' in piece && piece.trained
    const last = turns.at(-1)
    if (last !== undefined && last.trained === trained) last.content += content
    else if (content !== '' || trained) turns.push({ role: 'text', content, trained })
  }
  return turns
}

/**
 * The template with a sentence behind its question: the last field that is not trained, before the first that is.
 *
 * @throws {WinnowError} `bad-template`.
 */
export function behindQuestion(template: string, sentence: string): string {
  const pieces = parseTemplate(template)
  const trained = pieces.findIndex((piece) => 'path' in piece && piece.trained)
  const at = pieces.slice(0, trained).findLastIndex((piece) => 'path' in piece)
  if (at < 0)
    throw new WinnowError('usage', {
      code: 'bad-template',
      message: '--template has no field for the question',
      path: '--template',
      found: JSON.stringify(template),
      expected: 'a {field} before the trained {field*}',
    })
  return pieces
    .toSpliced(at + 1, 0, { literal: sentence })
    .map(templateText)
    .join('')
}

const templateText = (piece: TemplatePiece): string =>
  'literal' in piece
    ? piece.literal.replaceAll(/[{}\\]/g, (character) => character.repeat(2))
    : `{${piece.path}${piece.trained ? '*' : ''}}`
