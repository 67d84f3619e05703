/** HTML as a value apart from text: whatever comes from data is text, and text is escaped where it enters the page. */

const brand: unique symbol = Symbol('html')

/** Markup that may stand in the page as it is. Only `html` and `trustedMarkup` make it. */
export interface Html {
  readonly [brand]: true
  readonly markup: string
}

export type HtmlValue = Html | string | number | undefined | false | readonly HtmlValue[]

/** Markup made by our own code (style sheet, serialised SVG), never a string that holds data. */
export function trustedMarkup(markup: string): Html {
  return { [brand]: true, markup }
}

/** Tagged template: literal parts are markup, interpolated strings are escaped, `undefined` and `false` leave nothing. */
export function html(parts: TemplateStringsArray, ...values: HtmlValue[]): Html {
  let markup = parts[0]
  for (let i = 0; i < values.length; i++) markup += render(values[i]) + parts[i + 1]
  return trustedMarkup(markup)
}

function render(value: HtmlValue): string {
  if (value === undefined || value === false) return ''
  if (typeof value === 'string') return escapeText(value)
  if (typeof value === 'number') return String(value)
  if (isHtml(value)) return value.markup
  return value.map(render).join('')
}

function isHtml(value: Html | readonly HtmlValue[]): value is Html {
  return brand in value
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** Safe in element content and in quoted attributes. */
export function escapeText(text: string): string {
  return visibleText(text).replace(/[&<>"']/g, (character) => ENTITIES[character])
}

/**
 * Text with nothing hidden in it. C0 and C1 controls other than tab and line feed become their Unicode pictures or
 * code points, and so do the bidirectional controls that could reorder what stands around them (Boucher and Anderson,
 * "Trojan Source", 2021) and zero-width characters; lone surrogates become U+FFFD.
 */
export function visibleText(text: string): string {
  return text.toWellFormed().replace(/\r\n?/g, '\n').replace(HIDDEN, pictureOf)
}

// Zero-width joiners stay: scripts and emoji need them.
const HIDDEN = /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}\u200b\ufeff\ufffe\uffff]/gu

function pictureOf(character: string): string {
  if (character === '\t' || character === '\n') return character
  const code = character.charCodeAt(0)
  if (code < 0x20) return String.fromCharCode(0x2400 + code)
  return `[U+${code.toString(16).toUpperCase().padStart(4, '0')}]`
}

/** At most `length` UTF-16 units, cut between characters, with an ellipsis where something was left out. */
export function truncate(text: string, length: number): string {
  if (text.length <= length) return text
  const end = length - 1
  const splitsPair = /[\ud800-\udbff]/.test(text[end - 1])
  return `${text.slice(0, splitsPair ? end - 1 : end)}…`
}
