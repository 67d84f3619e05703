/** The record formats winnow knows, their detection from the first rows, and how each becomes turns. */

import { type Fault, WinnowError } from '../errors.ts'
import { chatArray, chatStyle, readChat } from './chat.ts'
import { didYouMean, type FieldMap, kindOf, listNames, type Row, textOf, unknownField, valueAt } from './fields.ts'
import type { Turn } from './record.ts'
import { applyTemplate, parseTemplate, templatePaths } from './template.ts'

export interface FormatDescription {
  /** `messages`, `sharegpt`, `preference`, `alpaca`, `prompt-completion`, `question-answer`, `text` or `template`. */
  name: string
  /** Why: what was seen in the first rows, or which option decided. */
  reason: string
  /** What a reader may not expect: which part of the record is not used. */
  note?: string
}

export interface Format extends FormatDescription {
  /** Top-level fields that reading needs; a columnar reader need not read others. */
  columns: string[]
  /** Turns of one record, or what is wrong with it (file and line not yet known). */
  turns(row: Row): Turn[] | Fault
  /** Field that holds what is trained, for faults: `answer`, `messages`. */
  response(row: Row): string
  /** The record's source: a string, or a number in decimal; undefined for anything else. */
  source(row: Row): string | undefined
}

type Slots = Record<string, string[]>

interface Shape {
  name: string
  /** The slot that is trained. */
  response: string
  /** Candidate fields of every slot, first found wins. */
  slots: Slots
  /** Slots without which a row is not of this shape. */
  required: string[]
  note?: string
  /** Whether the required slots of one row hold what they should; `get` reads a slot. */
  matches(get: (slot: string) => unknown): boolean
  turns(get: (slot: string) => unknown, path: (slot: string) => string): Turn[] | Fault
}

const isText = (value: unknown) => value !== null && textOf(value) !== undefined

const chat = (style: 'messages' | 'sharegpt'): Shape => ({
  name: style,
  slots: { messages: ['messages', 'conversations', 'conversation'], tools: ['tools', 'functions'], system: ['system'] },
  required: ['messages'],
  response: 'messages',
  matches: (get) => chatStyle(get('messages')) === style,
  turns: (get, path) =>
    readChat(get('messages'), {
      path: path('messages'),
      trained: true,
      tools: get('tools'),
      system: textOf(get('system')),
    }),
})

/** A prompt part and a trained response part, each text or a list of messages. */
function promptAndResponse(
  shape: Omit<Shape, 'matches' | 'turns' | 'required'> & { prompt: string; input?: string },
): Shape {
  const { prompt, response, input } = shape
  return {
    ...shape,
    required: [prompt, response],
    matches: (get) =>
      [prompt, response].every((slot) => isText(get(slot)) || chatStyle(get(slot)) !== undefined) ||
      // A row whose response is null is of this shape, and an empty response: it is told as such.
      (isText(get(prompt)) && get(response) === null),
    turns: (get, path) => {
      const turns: Turn[] = []
      const system = textOf(get('system'))
      if (system !== undefined && system !== '') turns.push({ role: 'system', content: system, trained: false })
      for (const slot of [prompt, response]) {
        const value = get(slot)
        const trained = slot === response
        if (chatStyle(value) !== undefined) {
          const read = readChat(value, { path: path(slot), trained })
          if (!Array.isArray(read)) return read
          turns.push(...read)
          continue
        }
        let content = value === null ? '' : textOf(value)
        if (content === undefined) return missing(path(slot), value)
        if (!trained && input !== undefined) {
          const extra = textOf(get(input) ?? '')
          if (extra === undefined) return missing(path(input), get(input))
          if (extra !== '') content = content === '' ? extra : `${content}\n\n${extra}`
        }
        turns.push({ role: trained ? 'assistant' : 'user', content, trained })
      }
      return turns
    },
  }
}

const PREFERENCE: Shape = {
  name: 'preference',
  slots: { prompt: ['prompt', 'question', 'instruction'], chosen: ['chosen'], system: ['system'] },
  required: ['chosen'],
  response: 'chosen',
  note: 'only `chosen` is trained; `rejected` is not used',
  matches: (get) => chatStyle(get('chosen')) !== undefined || (isText(get('chosen')) && isText(get('prompt'))),
  turns: (get, path) => {
    const chosen = get('chosen')
    const prompt = get('prompt')
    // With a prompt of messages, `chosen` holds the answer alone; otherwise a list of messages is the whole dialogue.
    if (chatStyle(chosen) !== undefined && chatArray(prompt) === undefined) {
      return readChat(chosen, { path: path('chosen'), trained: true, system: textOf(get('system')) })
    }
    return PREFERENCE_PAIR.turns(get, path)
  },
}
const PREFERENCE_PAIR = promptAndResponse({ name: 'preference', slots: {}, prompt: 'prompt', response: 'chosen' })

const TEXT: Shape = {
  name: 'text',
  slots: { text: ['text'] },
  required: ['text'],
  response: 'text',
  note: 'the whole text is trained',
  matches: (get) => isText(get('text')) || get('text') === null,
  turns: (get, path) => {
    const value = get('text')
    const content = value === null ? '' : textOf(value)
    return content === undefined ? missing(path('text'), value) : [{ role: 'text', content, trained: true }]
  },
}

/** In order of precedence: of two formats that fit equally many rows, the earlier one is it. */
const SHAPES: Shape[] = [
  chat('messages'),
  chat('sharegpt'),
  PREFERENCE,
  promptAndResponse({
    name: 'alpaca',
    slots: {
      instruction: ['instruction'],
      input: ['input', 'context'],
      response: ['output', 'response'],
      system: ['system'],
    },
    prompt: 'instruction',
    response: 'response',
    input: 'input',
  }),
  promptAndResponse({
    name: 'prompt-completion',
    slots: { prompt: ['prompt'], response: ['completion', 'response'], system: ['system'] },
    prompt: 'prompt',
    response: 'response',
  }),
  promptAndResponse({
    name: 'question-answer',
    slots: { question: ['question'], response: ['answer', 'response'], system: ['system'] },
    prompt: 'question',
    response: 'response',
  }),
  TEXT,
]

/**
 * The format of one input, from its first rows (`sample`, at least one) or from the options. Of the formats that fit
 * any row the one that fits most is taken. Throws `unknown-format`, `unknown-field`, `bad-fields` or `bad-template`.
 */
export function detectFormat(
  sample: readonly Row[],
  file: string,
  options: { fields?: FieldMap; template?: string } = {},
): Format {
  const fields = options.fields ?? {}
  const known = [...new Set(sample.flatMap((row) => Object.keys(row)))]
  const mustExist = (path: string, option: string) => {
    if (!sample.some((row) => valueAt(row, path) !== undefined)) {
      throw new WinnowError('usage', unknownField(path, option, known, file, sample.length))
    }
  }
  for (const path of Object.values(fields)) mustExist(path, '--fields')
  const sourceFields = fields.source === undefined ? ['source', 'domain'] : [fields.source]
  const source = (row: Row) => {
    for (const path of sourceFields) {
      const value = valueAt(row, path)
      if (typeof value === 'number') return String(value)
      if (typeof value === 'string' && value !== '') return value
    }
    return undefined
  }
  if (options.template !== undefined) {
    const pieces = parseTemplate(options.template)
    const paths = templatePaths(pieces)
    for (const path of paths) mustExist(path, '--template')
    const trained = pieces.flatMap((piece) => ('path' in piece && piece.trained ? [piece.path] : [])).join(', ')
    return {
      name: 'template',
      reason: '--template was given',
      columns: topLevel([...paths, ...sourceFields], known),
      turns: (row) => applyTemplate(pieces, row),
      response: () => trained,
      source,
    }
  }
  const given = Object.keys(fields).filter((slot) => slot !== 'source')
  const candidates = SHAPES.filter((shape) => given.every((slot) => slot in shape.slots))
  if (candidates.length === 0) throw new WinnowError('usage', noSuchFormat(given))
  const fits = candidates.map((shape) => {
    const slots = bindSlots(shape, fields)
    return { shape, slots, count: sample.filter((row) => shape.matches(reader(slots, row))).length }
  })
  const best = fits.reduce((a, b) => (b.count > a.count ? b : a))
  if (best.count === 0) throw new WinnowError('input', noFormat(sample, known, file, given))
  const { shape, slots } = best
  const first = sample.find((row) => shape.matches(reader(slots, row)))!
  const seen = shape.required.map((slot) => `\`${foundPath(slots, first, slot)}\``).join(' and ')
  return {
    name: shape.name,
    reason: `${seen} in ${best.count} of the first ${sample.length} rows${given.length === 0 ? '' : ', as --fields says'}`,
    note: shape.note,
    columns: topLevel([...Object.values(slots).flat(), ...sourceFields], known),
    turns: (row) => shape.turns(reader(slots, row), (slot) => foundPath(slots, row, slot)),
    response: (row) => foundPath(slots, row, shape.response),
    source,
  }
}

/** A shape's slots with those of `--fields` bound. */
function bindSlots(shape: Shape, fields: FieldMap): Slots {
  const bound: Slots = { ...shape.slots }
  for (const [slot, path] of Object.entries(fields)) if (slot !== 'source') bound[slot] = [path]
  return bound
}

function reader(slots: Slots, row: Row): (slot: string) => unknown {
  return (slot) => {
    let found: unknown
    for (const path of slots[slot] ?? []) {
      const value = valueAt(row, path)
      if (value !== undefined && value !== null) return value
      if (value === null) found = null
    }
    return found
  }
}

/** The field that fills a slot in this row, or the slot's first name. */
function foundPath(slots: Slots, row: Row, slot: string): string {
  const paths = slots[slot] ?? [slot]
  return paths.find((path) => valueAt(row, path) !== undefined) ?? paths[0] ?? slot
}

/** Top-level field names behind paths, of those that the sample has. */
function topLevel(paths: string[], known: readonly string[]): string[] {
  const names = paths.map((path) => (known.includes(path) ? path : path.split('.')[0]))
  return [...new Set(names)].filter((name) => known.includes(name))
}

function missing(path: string, value: unknown): Fault {
  return {
    code: value === undefined ? 'missing-field' : 'wrong-type',
    message: 'the row has the wrong shape',
    path,
    found: kindOf(value),
    expected: 'text',
  }
}

function noSuchFormat(given: string[]): Fault {
  return {
    code: 'bad-fields',
    message: `--fields binds ${given.map((slot) => `\`${slot}\``).join(' and ')}, which no format has together`,
    path: '--fields',
    expected: SHAPES.map((shape) => `${shape.name} (${Object.keys(shape.slots).join(', ')})`).join('; '),
  }
}

function noFormat(sample: readonly Row[], known: string[], file: string, given: string[]): Fault {
  const wanted = [
    'messages',
    'conversations',
    'instruction',
    'output',
    'prompt',
    'completion',
    'question',
    'answer',
    'text',
  ]
  const close = known.flatMap((name) => {
    const match = wanted.includes(name) ? undefined : didYouMean(name, wanted)
    return match === undefined ? [] : [`\`${name}\` is close to ${match.slice('Did you mean '.length, -1)}`]
  })
  return {
    code: 'unknown-format',
    message: `none of the first ${sample.length} rows is of a format winnow knows${given.length > 0 ? ' with the fields that --fields binds' : ''}`,
    file,
    found:
      listNames(known, (name) => ` (${kindOf(sample.find((row) => Object.hasOwn(row, name))![name])})`) || 'no fields',
    expected:
      'messages, conversations, prompt + chosen, instruction + output, prompt + completion, question + answer, or text',
    hint: `Say which fields to use: --fields prompt=…,response=… or --template '{…}\\n{…*}'${close.length > 0 ? ` (${close.join('; ')})` : ''}.`,
  }
}
