/** What a user writes for a model: a directory, or an id on the hub with a revision. */

import { homedir } from 'node:os'
import { join } from 'node:path'
import { WinnowError } from '../errors.ts'

export type ModelReference =
  | { kind: 'directory'; path: string }
  | { kind: 'hub'; id: string /** Branch, tag or commit as written behind `@`. */; revision?: string }

/** A commit's full name. */
export const isCommit = (revision: string) => /^[0-9a-f]{40}$/.test(revision)

// The rules of the hub's own client: letters, digits, '-', '_', '.', no punctuation at either end, one slash at most.
const PART = '[A-Za-z0-9_](?:[\\w.-]{0,94}[A-Za-z0-9_])?'
const ID = new RegExp(`^(?:${PART}/)?${PART}$`)
const REVISION = /^(?!.*(?:\.\.|\/\/))[A-Za-z0-9_](?:[\w./+-]*[\w+-])?$/
const PATH = /^(\.{1,2}([/\\]|$)|[/\\~]|[A-Za-z]:[/\\])|\\/

const isId = (id: string) => ID.test(id) && !/--|\.\.|\.git$/.test(id)

/**
 * Reads a model's name that is not that of an existing directory. What begins with `./`, `../`, `/`, `~` or a drive letter is a
 * directory; `owner/name` or, for the hub's oldest models, `name` is a hub id, with `@branch`, `@tag` or `@commit` behind it if wanted.
 *
 * @throws {WinnowError} `bad-model-name`.
 */
export function parseReference(text: string): ModelReference {
  if (PATH.test(text)) return { kind: 'directory', path: text.replace(/^~(?=$|[/\\])/, () => homedir()) }
  const at = text.indexOf('@')
  const [id, revision] = at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)]
  if (isId(id) && (revision === undefined || REVISION.test(revision))) return { kind: 'hub', id, revision }
  const url = /^(?:https?:\/\/[^/]+\/|hf:\/\/)([^/]+\/[^/?#]+)/.exec(text)?.[1]
  throw new WinnowError('input', {
    code: 'bad-model-name',
    message: `'${text}' is neither a directory that exists nor a model's name on the hub`,
    expected: 'a directory, owner/name, or owner/name@revision',
    hint: url !== undefined && isId(url) ? `Write ${url}.` : 'Check the path or the spelling; a path may begin with ./',
  })
}

/** The revision as given, if it can be one. Throws `bad-revision`: it also names a file in the cache. */
export function checkRevision(revision: string): string {
  if (REVISION.test(revision)) return revision
  throw new WinnowError('input', {
    code: 'bad-revision',
    message: `'${revision}' cannot be a revision`,
    expected: 'a branch, a tag or a commit of 40 hex digits',
  })
}

/** `~` and `$NAME` or `${NAME}` replaced, as the Python client does in its own variables. */
export function expandPath(path: string): string {
  const named = path.replace(/\$(?:(\w+)|\{(\w+)\})/g, (whole, plain, braced) => process.env[plain ?? braced] ?? whole)
  return /^~($|[/\\])/.test(named) ? join(homedir(), named.slice(1)) : named
}
