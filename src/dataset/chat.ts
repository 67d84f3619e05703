/**
 * Chat records: OpenAI messages (role, content) and ShareGPT turns (from, value), with tools rendered as text.
 * The rendering is a pure function of the record: tools go to the end of the system turn as
 * `<tools>` one JSON a line `</tools>`, calls into their assistant turn as `<tool_call>` JSON `</tool_call>`, reasoning
 * before the answer as `<think>` … `</think>` (the form of the Hermes and Qwen chat templates). JSON keeps the record's key order.
 */

import type { Fault } from '../errors.ts'
import { kindOf, type Row, textOf } from './fields.ts'
import type { Role, Turn } from './record.ts'

const ROLES: Record<string, Role> = {
  system: 'system',
  developer: 'system',
  user: 'user',
  human: 'user',
  prompter: 'user',
  assistant: 'assistant',
  gpt: 'assistant',
  chatgpt: 'assistant',
  model: 'assistant',
  bot: 'assistant',
  function_call: 'assistant',
  tool: 'tool',
  function: 'tool',
  ipython: 'tool',
  observation: 'tool',
  function_response: 'tool',
  tool_response: 'tool',
}

export interface ChatOptions {
  /** Path of the turns inside the row, for faults: `messages`. */
  path: string
  /** Whether assistant turns carry loss. */
  trained: boolean
  /** The record's tool definitions, an array or its JSON text. */
  tools?: unknown
  /** A system prompt kept beside the turns. */
  system?: string
}

/** The array behind a chat field: the array itself, or one written as JSON text (as CSV files must). */
export function chatArray(value: unknown): unknown[] | undefined {
  if (Array.isArray(value)) return value
  if (typeof value !== 'string' || !/^\s*\[\s*[{\]]/.test(value)) return undefined
  try {
    const parsed: unknown = JSON.parse(value)
    return Array.isArray(parsed) ? parsed : undefined
  } catch {
    return undefined
  }
}

/** Which of the two chat spellings an array is in, by its first turn. */
export function chatStyle(value: unknown): 'messages' | 'sharegpt' | undefined {
  const first = chatArray(value)?.[0]
  if (typeof first !== 'object' || first === null) return undefined
  if ('role' in first) return 'messages'
  return 'from' in first && 'value' in first ? 'sharegpt' : undefined
}

/**
 * Turns of a chat field. Assistant turns are trained, except empty ones and those of `weight` 0.
 * Faults: `wrong-type`, `unknown-role`, `unsupported-content` (images, audio), each with the path of the turn.
 */
export function readChat(value: unknown, options: ChatOptions): Turn[] | Fault {
  const array = chatArray(value)
  if (array === undefined || array.length === 0) return wrongType(options.path, value, 'a non-empty array of turns')
  const turns: Turn[] = []
  for (let i = 0; i < array.length; i++) {
    const path = `${options.path}[${i}]`
    const item = array[i]
    if (typeof item !== 'object' || item === null) return wrongType(path, item, 'an object with role and content')
    const turn = readTurn(item as Row, path, options.trained)
    if ('code' in turn) return turn
    turns.push(turn)
  }
  const tools = renderTools(options.tools)
  if (typeof tools === 'object') return tools
  const preamble = [options.system, tools].filter((text) => text !== undefined && text !== '')
  if (preamble.length > 0) {
    if (turns[0].role === 'system') preamble.unshift(turns.shift()!.content)
    turns.unshift({ role: 'system', content: preamble.filter((text) => text !== '').join('\n\n'), trained: false })
  }
  return turns
}

function readTurn(item: Row, path: string, trainAssistant: boolean): Turn | Fault {
  const named = item.role ?? item.from
  const role = typeof named === 'string' && Object.hasOwn(ROLES, named) ? ROLES[named] : undefined
  if (role === undefined) {
    return {
      code: typeof named === 'string' ? 'unknown-role' : 'wrong-type',
      message: 'a turn has no role that winnow knows',
      path: `${path}.${'from' in item && !('role' in item) ? 'from' : 'role'}`,
      found: typeof named === 'string' ? JSON.stringify(named) : kindOf(named),
      expected: 'system, user, assistant or tool (ShareGPT: system, human, gpt, observation)',
    }
  }
  const key = 'content' in item || !('value' in item) ? 'content' : 'value'
  const content = readContent(item[key], `${path}.${key}`, item)
  if (typeof content === 'object') return content
  const parts = [content]
  if (named === 'function_call') parts[0] = `<tool_call>\n${content}\n</tool_call>`
  if (role === 'assistant') {
    const reasoning = item.reasoning_content ?? item.reasoning
    if (typeof reasoning === 'string' && reasoning !== '') parts.unshift(`<think>\n${reasoning}\n</think>`)
    for (const call of toolCalls(item)) parts.push(`<tool_call>\n${call}\n</tool_call>`)
  }
  const text = parts.filter((part) => part !== '').join('\n')
  return { role, content: text, trained: trainAssistant && role === 'assistant' && text !== '' && item.weight !== 0 }
}

/** Content as text: a string, the text parts of a list, or nothing where the turn is tool calls alone. */
function readContent(content: unknown, path: string, item: Row): string | Fault {
  if (typeof content === 'string') return content
  if (content === null || content === undefined) {
    if (toolCalls(item).length > 0) return ''
    if (typeof item.refusal === 'string') return item.refusal
    return wrongType(path, content, 'text')
  }
  if (!Array.isArray(content)) return textOf(content) ?? wrongType(path, content, 'text or a list of text parts')
  let text = ''
  for (let i = 0; i < content.length; i++) {
    const part = content[i] as Row | string | null
    const piece = typeof part === 'string' ? part : (part?.text ?? part?.refusal)
    if (typeof piece !== 'string') {
      return {
        code: 'unsupported-content',
        message: 'a turn holds something other than text',
        path: `${path}[${i}]`,
        found: typeof part === 'object' && part !== null ? `type ${JSON.stringify(part.type)}` : kindOf(part),
        expected: 'text parts only',
      }
    }
    text += piece
  }
  return text
}

/** Calls of an assistant turn, each as `{"name": …, "arguments": …}`; arguments given as JSON text stay as written. */
function toolCalls(item: Row): string[] {
  const calls = Array.isArray(item.tool_calls) ? item.tool_calls : item.function_call ? [item.function_call] : []
  return calls.map((call: Row) => {
    const target = (typeof call?.function === 'object' && call.function !== null ? call.function : call) as Row
    const args = typeof target?.arguments === 'string' ? target.arguments : JSON.stringify(target?.arguments ?? {})
    return `{"name": ${JSON.stringify(target?.name ?? '')}, "arguments": ${args}}`
  })
}

function renderTools(tools: unknown): string | undefined | Fault {
  if (tools === undefined || tools === null || tools === '') return undefined
  const array = chatArray(tools)
  if (array === undefined) return typeof tools === 'string' ? tools : wrongType('tools', tools, 'an array of tools')
  if (array.length === 0) return undefined
  return `<tools>\n${array.map((tool) => JSON.stringify(tool)).join('\n')}\n</tools>`
}

function wrongType(path: string, value: unknown, expected: string): Fault {
  return { code: 'wrong-type', message: 'the row has the wrong shape', path, found: kindOf(value), expected }
}
