/** Options of methods, read off their zod schemas: descriptions for flags and docs, and values from the command line. */

import { z } from 'zod'
import { WinnowError } from '../errors.ts'
import type { Method } from './method.ts'

export interface OptionDescription {
  /** `clusters` */
  name: string
  /** `--clusters <auto|n>` */
  flag: string
  description: string
  /** As text, the way one would type it. */
  default: string
  /** Allowed words, if it takes words only. */
  choices?: string[]
}

const kebab = (name: string) => name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

/** The words and the placeholder of one option's JSON schema. */
function valuesOf(schema: z.core.JSONSchema.BaseSchema): { words: string[]; isNumber: boolean; isBoolean: boolean } {
  const alternatives = (schema.anyOf as z.core.JSONSchema.BaseSchema[] | undefined) ?? [schema]
  return {
    words: alternatives.flatMap((one) => (one.enum ?? (one.const === undefined ? [] : [one.const])).map(String)),
    isNumber: alternatives.some((one) => one.type === 'number' || one.type === 'integer'),
    isBoolean: alternatives.some((one) => one.type === 'boolean'),
  }
}

/** What a method can be told, in the order of its schema. */
export function describeOptions(method: Method): OptionDescription[] {
  const { properties = {} } = z.toJSONSchema(method.options, { io: 'output' })
  return Object.entries(properties).map(([name, property]) => {
    const schema = property as z.core.JSONSchema.BaseSchema
    const { words, isNumber, isBoolean } = valuesOf(schema)
    const forms = [...words, ...(isNumber ? ['n'] : [])]
    const placeholder = isBoolean ? '' : ` <${forms.length === 0 ? 'value' : forms.join('|')}>`
    return {
      name,
      flag: `--${kebab(name)}${placeholder}`,
      description: schema.description ?? '',
      default: String(schema.default),
      ...(words.length > 0 && !isNumber ? { choices: words } : {}),
    }
  })
}

/**
 * Check options by the method's schema and fill in its defaults. Numbers may come as text.
 *
 * @throws {WinnowError} `unknown-option`, `bad-option`.
 */
export function parseOptions(method: Method, given: { readonly [name: string]: unknown }): Record<string, unknown> {
  const described = describeOptions(method)
  const unknown = Object.keys(given).find((name) => !described.some((option) => option.name === name))
  if (unknown !== undefined)
    throw new WinnowError('usage', {
      code: 'unknown-option',
      message: `method ${method.name} has no such option`,
      path: `--${kebab(unknown)}`,
      expected: described.length === 0 ? 'no options' : described.map((option) => `--${kebab(option.name)}`).join(', '),
    })
  const parsed = method.options.safeParse(given)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const option = described.find(({ name }) => name === issue.path[0])
  throw new WinnowError('usage', {
    code: 'bad-option',
    message: `the option does not take this value: ${innermost(issue).message}`,
    path: `--${kebab(String(issue.path[0] ?? ''))}`,
    found: String(given[String(issue.path[0])]),
    expected: option && (option.choices?.join(' or ') ?? option.flag.replace(/^\S+ /, '')),
    hint: option && `${option.description}.`,
  })
}

/** Of a union's issues, that of the last alternative: the general one after the words. */
function innermost(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== 'invalid_union') return issue
  return issue.errors.at(-1)?.[0] ?? issue
}
