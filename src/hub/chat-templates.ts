/** Where a model directory keeps its chat templates: transformers has had four places, and reads them in this order. */

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { errorCode, ioError } from '../runs/fault.ts'
import { maybeText, parseObject } from './json-files.ts'

export const TEMPLATE_FILE = 'chat_template.jinja'
export const TEMPLATE_FOLDER = 'additional_chat_templates'

/**
 * Chat templates by name, `default` for the one without: the files of transformers since 4.51 if there are any, else
 * chat_template.json (processors before), else `chat_template` of tokenizer_config.json, which is a string or a list of
 * `{name, template}`. Empty where there are none.
 */
export async function maybeChatTemplates(
  directory: string,
  tokenizerConfig: Record<string, unknown> | undefined,
): Promise<Record<string, string>> {
  const templates: Record<string, string> = {}
  for (const name of await templateNames(directory)) {
    const text = await maybeText(join(directory, TEMPLATE_FOLDER, `${name}.jinja`))
    if (text !== undefined) templates[name] = text
  }
  const single = await maybeText(join(directory, TEMPLATE_FILE))
  if (single !== undefined) templates.default = single
  if (Object.keys(templates).length > 0) return templates
  const legacyPath = join(directory, 'chat_template.json')
  const legacy = await maybeText(legacyPath)
  const declared = legacy === undefined ? undefined : named(parseObject(legacy, legacyPath).chat_template)
  return declared ?? named(tokenizerConfig?.chat_template) ?? {}
}

/** Names of the templates in their folder, in order. */
export async function templateNames(directory: string): Promise<string[]> {
  const folder = join(directory, TEMPLATE_FOLDER)
  try {
    const names = await readdir(folder)
    return names
      .filter((name) => name.endsWith('.jinja'))
      .map((name) => name.slice(0, -'.jinja'.length))
      .sort()
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return []
    throw ioError(error, folder, 'read')
  }
}

function named(value: unknown): Record<string, string> | undefined {
  if (typeof value === 'string') return { default: value }
  const entries = Array.isArray(value)
    ? value.map((item) => [item?.name, item?.template])
    : Object.entries((value ?? {}) as Record<string, unknown>)
  const texts = entries.filter(([name, text]) => typeof name === 'string' && typeof text === 'string')
  return texts.length === 0 ? undefined : Object.fromEntries(texts)
}
