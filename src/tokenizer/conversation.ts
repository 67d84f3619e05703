/**
 * A record's turns through a chat template: the rendered text, and which stretches of it are trained.
 *
 * A trained turn is what the model writes in its place: from behind the generation prompt to the end of its turn, the end-of-turn
 * token included. Where the template has `{% generation %}` blocks they say it. Otherwise it is found by rendering
 * prefixes: the turns before with the prompt for generation open it, the turns up to it close it, if both begin the whole
 * rendering. Templates that rewrite earlier turns (Qwen 3 drops their reasoning) break that; then the content itself is
 * found, by a rendering in which it stands between two marks, and the control token behind it is its end.
 */

import type { Turn } from '../dataset/record.ts'
import { type Fault, WinnowError } from '../errors.ts'
import { type ChatMessage, type ChatTemplate, TemplateRefusal } from './chat-template.ts'
import { type ControlTokens, hideControlText, MARK_END, MARK_START, restoreControlText } from './control-text.ts'
import { strip, stripped } from './python-text.ts'
import type { RecordPlace } from './tokenizer.ts'

export interface Conversation {
  text: string
  /** Trained stretches of `text`, ascending, half-open, UTF-16 code units. */
  spans: [number, number][]
  /** Control tokens of the template in `text`; given only where the data spells some, which are then plain text. */
  control?: { start: number; end: number; id: number; lstrip?: boolean; rstrip?: boolean }[]
}

/**
 * Renders a record. Throws a WinnowError (kind `input`) `chat-template` with the template's own message when it refuses the
 * conversation, `template-mask` when it cannot be told what a trained turn has become.
 */
export function renderConversation(
  template: ChatTemplate,
  turns: readonly Turn[],
  control: ControlTokens,
  place: RecordPlace = {},
): Conversation {
  const safe = hideControlText(
    turns.map(({ content }) => content),
    control,
  )
  if (safe === undefined)
    throw fault(place, 'chat-template', 'the record spells more different control tokens than can be told apart')
  const messages = turns.map(({ role }, i): ChatMessage => ({ role, content: safe.contents[i] }))
  let full: string
  try {
    full = template.render(messages)
  } catch (error) {
    if (!(error instanceof TemplateRefusal)) throw error
    throw fault(place, 'chat-template', 'the chat template refuses the record', {
      found: error.message,
      expected: 'turns as the template wants them',
      hint: 'Change the turns to suit the template, leave the row out, or do without the template.',
    })
  }
  const spans =
    (template.marksGeneration ? maybeMarked(template, messages, turns, full) : undefined) ??
    rendered(template, messages, turns, full, control, place)
  if (safe.hidden.size === 0) return { text: full, spans }
  const { text, positions } = restoreControlText(full, safe.hidden)
  return {
    text,
    spans: spans.map(([start, end]) => [positions[start], positions[end]]),
    control: control.find(full).map(({ start, end, token }) => ({
      start: positions[start],
      end: positions[end],
      ...{ id: token.id, lstrip: token.lstrip, rstrip: token.rstrip },
    })),
  }
}

function fault(place: RecordPlace, code: string, message: string, rest: Partial<Fault> = {}): WinnowError {
  return new WinnowError('input', { code, message, file: place.file, line: place.line, ...rest })
}

const MARKS = new RegExp(`([${MARK_START}${MARK_END}])`)

/** The stretches between marks, as places in the text without them, which must be `full`. */
function maybeStretches(marked: string, full: string): [number, number][] | undefined {
  const stretches: [number, number][] = []
  let [at, open] = [0, -1]
  for (const part of marked.split(MARKS)) {
    if (part === MARK_START || part === MARK_END) {
      const opens = part === MARK_START
      if (opens !== (open === -1)) return undefined
      if (!opens) stretches.push([open, at])
      open = opens ? at : -1
    } else {
      if (!full.startsWith(part, at)) return undefined
      at += part.length
    }
  }
  return open === -1 && at === full.length ? stretches : undefined
}

/**
 * Spans of the template's generation blocks: the k-th is the k-th assistant turn's. A template may mark fewer turns than are trained, and then
 * has its way. Undefined where it is unknown which block is whose.
 */
function maybeMarked(
  template: ChatTemplate,
  messages: readonly ChatMessage[],
  turns: readonly Turn[],
  full: string,
): [number, number][] | undefined {
  const blocks = maybeStretches(template.render(messages, { marks: true }), full)
  if (blocks === undefined) return undefined
  const trained = turns.filter(({ role }) => role === 'assistant').map((turn) => turn.trained)
  if (blocks.length === trained.length) return blocks.filter((_, i) => trained[i])
  return blocks.length < trained.length && trained.every(Boolean) ? blocks : undefined
}

/** Trained turns from which on not every one is found by its own prefixes, whose cost grows with the square of the turns. */
const MANY_TURNS = 4

/** Spans of the trained turns by rendering prefixes, then by looking for their contents. */
function rendered(
  template: ChatTemplate,
  messages: readonly ChatMessage[],
  turns: readonly Turn[],
  full: string,
  control: ControlTokens,
  place: RecordPlace,
): [number, number][] {
  const trained = turns.flatMap((turn, i) => (turn.trained ? [i] : []))
  let known: Map<number, [number, number]> | undefined
  const contents = () => {
    known ??= located(template, messages, turns, full)
    return known
  }
  const around = (content: [number, number], open?: number, close?: number): [number, number] => [
    openingOf(template, full, content[0], open, control),
    closingOf(full, content[1], close, control),
  ]
  const spanOf = (i: number): [number, number] => {
    const answer = messages[i].content.slice(...answerOf(messages[i].content))
    const prefix = maybePrefix(template, messages.slice(0, i), full, true)
    // Some templates have no prompt for a conversation that is yet to begin.
    const prompted = prefix !== undefined && full.slice(0, prefix).endsWith(template.generationPrompt)
    const open = prompted ? prefix : undefined
    const close = i === turns.length - 1 ? full.length : maybePrefix(template, messages.slice(0, i + 1), full)
    let span: [number, number] | undefined
    // Between the two there must be the content, or at least what is left of it without its reasoning.
    if (template.generationPrompt !== '' && open !== undefined && close !== undefined && close > open)
      if (full.slice(open, close).includes(answer)) span = [open, close]
    if (span === undefined) {
      const content = contents().get(i)
      if (content === undefined) throw unmasked(place, i, turns[i])
      span = around(content, open, close)
    }
    // What follows the token that ends the turn is the template's, not the model's.
    const written = span[0] + strip(full.slice(...span), 'rstrip').length
    return control.endsAt(full, written) ? [span[0], written] : span
  }
  // Where control tokens open and close every turn, the contents say where the turns are, if first and last turn agree.
  const maybeAll = (): [number, number][] | undefined => {
    if (trained.length < MANY_TURNS || contents().size < trained.length) return undefined
    const spans = trained.map((i) => around(contents().get(i)!))
    const closed = spans.every(
      ([start, end]) => full.slice(0, start).endsWith(template.generationPrompt) && control.endsAt(full, end),
    )
    const agree = (k: number) => spanOf(trained[k]).every((border, side) => border === spans[k][side])
    return closed && template.generationPrompt !== '' && agree(0) && agree(trained.length - 1) ? spans : undefined
  }
  const spans = maybeAll() ?? trained.map(spanOf)
  const overlap = spans.findIndex(([start], k) => k > 0 && start < spans[k - 1][1])
  if (overlap !== -1) throw unmasked(place, trained[overlap], turns[trained[overlap]])
  return spans
}

/**
 * Where a turn begins whose content begins at `content`: at `open`, behind the turns before and the generation prompt; else behind the last
 * generation prompt, if a control token in it keeps data from looking like it; else at the content.
 */
function openingOf(
  { generationPrompt }: ChatTemplate,
  full: string,
  content: number,
  open: number | undefined,
  control: ControlTokens,
): number {
  if (generationPrompt === '') {
    // What the template then puts before the content is the turn's header, unless it is white space.
    const near = open !== undefined && open <= content && strip(full.slice(open, content), 'strip') === ''
    return near ? open : content
  }
  if (open !== undefined && open <= content) return open
  const prompt = full.slice(0, content).lastIndexOf(generationPrompt)
  const start = prompt + generationPrompt.length
  // With a control token between them, the prompt is that of another turn.
  const own =
    prompt !== -1 && control.find(generationPrompt).length > 0 && control.find(full.slice(start, content)).length === 0
  return own ? start : content
}

/** Where a turn ends whose content ends at `content`: with the control token behind it, else at `close`, else with the content. */
function closingOf(full: string, content: number, close: number | undefined, control: ControlTokens): number {
  const end = full.length - strip(full.slice(content), 'lstrip').length
  const length = control.lengthAt(full, end)
  if (length > 0) return end + length
  return close !== undefined && close > content ? close : content
}

/** Length of the first turns as text, if the whole rendering begins with it. */
function maybePrefix(
  template: ChatTemplate,
  messages: readonly ChatMessage[],
  full: string,
  generationPrompt = false,
): number | undefined {
  const text = maybeText(template, messages, generationPrompt)
  return text !== undefined && full.startsWith(text) ? text.length : undefined
}

/** Some templates refuse a conversation without a user's turn, or one that ends with it. */
function maybeText(
  template: ChatTemplate,
  messages: readonly ChatMessage[],
  generationPrompt = false,
): string | undefined {
  try {
    return template.render(messages, { generationPrompt })
  } catch (error) {
    if (error instanceof TemplateRefusal) return undefined
    throw error
  }
}

const wholeOf = (content: string): [number, number] => [0, content.length]

/** The part of a content that templates keep, without the reasoning in front and white space around it. */
function answerOf(content: string): [number, number] {
  const reasoning = content.lastIndexOf('</think>')
  const from = reasoning === -1 ? 0 : reasoning + '</think>'.length
  const [start, end] = stripped(content.slice(from))
  return [from + start, from + end]
}

/** Places of the trained turns' contents in the rendering, found between marks. Empty where marks change the rendering. */
function located(
  template: ChatTemplate,
  messages: readonly ChatMessage[],
  turns: readonly Turn[],
  full: string,
): Map<number, [number, number]> {
  for (const partOf of [wholeOf, stripped, answerOf]) {
    const indices: number[] = []
    const marked = messages.map((message, i) => {
      const { content } = message
      const [start, end] = partOf(content)
      if (!turns[i].trained) return message
      indices.push(i)
      const part = `${MARK_START}${content.slice(start, end)}${MARK_END}`
      return { ...message, content: content.slice(0, start) + part + content.slice(end) }
    })
    const text = maybeText(template, marked)
    const stretches = text === undefined ? undefined : maybeStretches(text, full)
    if (stretches?.length === indices.length) return new Map(indices.map((i, k) => [i, stretches[k]]))
  }
  return new Map()
}

function unmasked(place: RecordPlace, index: number, turn: Turn): WinnowError {
  return fault(place, 'template-mask', 'it cannot be told which tokens the chat template makes of a trained turn', {
    path: `turn ${index + 1} (${turn.role})`,
    found: JSON.stringify(turn.content.length > 60 ? `${turn.content.slice(0, 57)}…` : turn.content),
    expected: 'a rendering that begins like that of the turns before, or shows the content as it is',
    hint: 'Put the model’s text between {% generation %} and {% endgeneration %} in the template, or leave the row out.',
  })
}
