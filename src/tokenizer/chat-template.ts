/**
 * Chat templates (Jinja) as transformers renders them: same variables, `trim_blocks` and `lstrip_blocks` set, undefined
 * names empty. The interpreter is `@huggingface/jinja`; what it does otherwise than Python is mended here: `strip`,
 * `lstrip`, `rstrip` and `trim` take the characters to strip and know Python's white space. The date is fixed, so that
 * the same data gives the same tokens tomorrow.
 */

import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja'
import { WinnowError } from '../errors.ts'
import { MARK_END, MARK_START, RESERVED } from './control-text.ts'
import { strftime, strip } from './python-text.ts'

export interface ChatMessage {
  role: string
  content: string
}

export interface ChatTemplate {
  /** Whether `{% generation %}` says which text is the model's. */
  readonly marksGeneration: boolean
  /** What opens an assistant turn behind a user's; empty where the template has nothing to give for `generationPrompt`. */
  readonly generationPrompt: string
  /**
   * The conversation as text. `generationPrompt` ends it with the opening of an assistant turn; `marks` puts MARK_START and
   * MARK_END around the text of each `{% generation %}` block. Throws a TemplateRefusal with the template's own message.
   */
  render(messages: readonly ChatMessage[], options?: { generationPrompt?: boolean; marks?: boolean }): string
}

/** What a template said with `raise_exception`, or what the interpreter could not do. */
export class TemplateRefusal extends Error {
  override name = 'TemplateRefusal'
}

/** What the sandbox in which transformers renders templates allows: a template may not fill the memory. */
const LONGEST_RANGE = 100_000

/** The date that `strftime_now` gives, the one that Llama 3's template falls back to. */
export const TEMPLATE_DATE = '2024-07-26'

export interface ChatTemplateOptions {
  /** `bos_token`, `eos_token`, `unk_token`, `pad_token`, …: those that the tokenizer has. */
  variables?: Record<string, string>
  /** `YYYY-MM-DD`. Default TEMPLATE_DATE. */
  date?: string
  /** For errors. */
  file?: string
}

/**
 * Compiles a template. Throws a WinnowError `bad-chat-template` (kind `input`) when it cannot be parsed or uses private-use
 * characters U+E000-U+F8FF.
 */
export function chatTemplate(source: string, options: ChatTemplateOptions = {}): ChatTemplate {
  const bad = (found: string, cause?: unknown) =>
    new WinnowError(
      'input',
      {
        code: 'bad-chat-template',
        message: 'the chat template cannot be used',
        file: options.file,
        found,
        expected: 'a Jinja template as transformers takes it',
        hint: 'Mend the template, or turn it off: records are then written as plain text.',
      },
      { cause },
    )
  if (RESERVED.test(source)) throw bad('private-use characters (U+E000 to U+F8FF) in it')
  const marked = source.replace(GENERATION, (_, open, end, close) => {
    const mark = end ? MARK_END : MARK_START
    return `{%${open} if winnow_marks %}{{ "${mark}" }}{% endif ${close}%}`
  })
  let program: ReturnType<typeof parse>
  try {
    program = parse(tokenize(marked, { trim_blocks: true, lstrip_blocks: true }))
    pythonStrings(program)
  } catch (error) {
    throw bad(error instanceof Error ? error.message : String(error), error)
  }
  const globals = environment(options)
  const render: ChatTemplate['render'] = (messages, { generationPrompt = false, marks = false } = {}) => {
    const scope = new Environment(globals)
    scope.set('messages', messages)
    scope.set('add_generation_prompt', generationPrompt)
    scope.set('winnow_marks', marks)
    try {
      return (new Interpreter(scope).run(program) as { value: string }).value
    } catch (error) {
      if (error instanceof TemplateRefusal) throw error
      throw new TemplateRefusal(error instanceof Error ? error.message : String(error), { cause: error })
    }
  }
  return { marksGeneration: marked !== source, generationPrompt: promptOf(render), render }
}

function promptOf(render: ChatTemplate['render']): string {
  const question = [{ role: 'user', content: 'a' }]
  try {
    const closed = render(question)
    const open = render(question, { generationPrompt: true })
    return open.startsWith(closed) ? open.slice(closed.length) : ''
  } catch (error) {
    if (error instanceof TemplateRefusal) return ''
    throw error
  }
}

/** Opening and closing tags of generation blocks, with their white-space control. */
const GENERATION = /\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}/g

function environment({ variables = {}, date = TEMPLATE_DATE }: ChatTemplateOptions): Environment {
  const globals = new Environment()
  const set = (name: string, value: unknown) => void globals.set(name, value)
  for (const [names, value] of [
    [['true', 'True'], true],
    [['false', 'False'], false],
    [['none', 'None'], null],
  ] as const)
    for (const name of names) set(name, value)
  set('range', (start: number, stop?: number, step = 1) => {
    const [from, to] = stop === undefined ? [0, start] : [start, stop]
    if (step === 0) throw new TemplateRefusal('range() arg 3 must not be zero')
    const length = Math.max(0, Math.ceil((to - from) / step))
    if (!(length <= LONGEST_RANGE)) throw new TemplateRefusal(`range() of more than ${LONGEST_RANGE} numbers`)
    return Array.from({ length }, (_, i) => from + i * step)
  })
  set('raise_exception', (message: unknown) => {
    throw new TemplateRefusal(String(message))
  })
  set('strftime_now', (format: string) => strftime(format, date))
  set('tools', null)
  set('documents', null)
  for (const side of ['strip', 'lstrip', 'rstrip'] as const)
    set(`winnow_${side}`, (text: unknown, characters?: string) => strip(text, side, characters ?? undefined))
  for (const [name, value] of Object.entries(variables)) set(name, value)
  return globals
}

interface Node {
  type?: string
  [field: string]: unknown
}

/** A call of one of our functions as a node of the syntax tree. */
function call(name: string, args: unknown[]): Node {
  const node = (parse(tokenize(`{{ ${name}(0) }}`)) as unknown as { body: Node[] }).body[0]
  node.args = args
  return node
}

/** Calls of string methods that the interpreter has without their argument become calls of ours, everywhere below `parent`. */
function pythonStrings(parent: unknown): void {
  if (typeof parent !== 'object' || parent === null) return
  const entries = parent instanceof Map ? parent : Object.entries(parent)
  for (const [key, child] of entries as Iterable<[unknown, unknown]>) {
    pythonStrings(child)
    if (parent instanceof Map) pythonStrings(key)
    const better = maybePythonString(child as Node)
    if (better === undefined) continue
    if (parent instanceof Map) parent.set(key, better)
    else (parent as Record<string, unknown>)[key as string] = better
  }
}

function maybePythonString(node: Node | null | undefined): Node | undefined {
  if (node?.type === 'CallExpression') {
    const callee = node.callee as Node
    const name = (callee.property as Node | undefined)?.value as string
    if (callee.type === 'MemberExpression' && !callee.computed && ['strip', 'lstrip', 'rstrip'].includes(name))
      return call(`winnow_${name}`, [callee.object, ...(node.args as unknown[])])
  }
  if (node?.type === 'FilterExpression') {
    const filter = node.filter as Node
    const name = filter.type === 'CallExpression' ? (filter.callee as Node).value : filter.value
    if (name === 'trim') return call('winnow_strip', [node.operand, ...((filter.args as unknown[] | undefined) ?? [])])
  }
  return undefined
}

/**
 * The template among those of a tokenizer_config's `chat_template`: a string, or several (a list of `{name, template}`, or an
 * object), of which `default` is it, or the only one. Undefined when there is none. Throws a WinnowError `bad-chat-template`.
 */
export function maybeTemplateSource(value: unknown, file?: string): string | undefined {
  if (value === null || value === undefined || value === '') return undefined
  if (typeof value === 'string') return value
  const named = (
    Array.isArray(value) ? value : Object.entries(value).map(([name, template]) => ({ name, template }))
  ) as ({ name?: string; template?: string } | null)[]
  if (named.length === 0) return undefined
  const found = named.find((one) => one?.name === 'default') ?? (named.length === 1 ? named[0] : undefined)
  if (typeof found?.template === 'string') return found.template
  throw new WinnowError('input', {
    code: 'bad-chat-template',
    message: 'no chat template is the default one',
    file,
    path: 'chat_template',
    found: named.map((one) => one?.name).join(', ') || typeof value,
    expected: 'a string, or a list with a template named default',
    hint: 'Name the template to use `default`.',
  })
}
