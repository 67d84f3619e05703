/**
 * Answers to mathematical questions in the text of a model, by the rules of MAmmoTH's evaluation (Yue et al. 2023, "MAmmoTH: Building math
 * generalist models through hybrid instruction tuning"), and whether one is right.
 */

/** A number as people write it: sign, thousands in commas, decimals, exponent, fraction. Not a digit inside a word. */
const NUMBER =
  /(?<![\p{L}\d_.])(?:(?<![\d)\]}])[-−+])?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?:(?<=\d)\.\d+|(?<!\d)\.\d+)?(?<=\d)(?:e[-+]?\d+(?![\p{L}\d]))?(?:\s?\/\s?\d+(?![\d/.,]\d|\/))?/giu

const PHRASE = /the (?:final )?answer is\s*:?/gi

/**
 * The answer in a text, written plainly (`plainAnswer`): what follows the last "The answer is", else the last `#### ` of GSM8K, else the last
 * \boxed{…}, else the last number. Undefined where there is none of them.
 *
 * After "The answer is" an answer is a letter of multiple choice, the first number where nothing but words of units stand about it, or else the
 * rest of the line as it is (an expression). A text that is nothing but a choice, `B` or `(B)`, is one.
 *
 * Pure; O(text).
 */
export function extractAnswer(text: string): string | undefined {
  const phrase = [...text.matchAll(PHRASE)].at(-1)
  if (phrase !== undefined) {
    const answer = statedAnswer(text.slice(phrase.index + phrase[0].length))
    if (answer !== undefined) return answer
  }
  const marked = [...text.matchAll(/####[ \t]*(\S.*)/g)].at(-1)
  if (marked !== undefined) return plainAnswer(marked[1])
  const boxed = lastBoxed(text)
  if (boxed !== undefined) return plainAnswer(boxed)
  const alone = maybeChoice(text, true)
  if (alone !== undefined) return alone
  const number = text.match(NUMBER)?.at(-1)
  return number === undefined ? undefined : plainNumber(number)
}

export interface SameAnswerOptions {
  /** Share of a truth that is no whole number by which a number may miss it: 0.04 for MATH. Default 0, exact. */
  tolerance?: number
}

/**
 * Whether an answer is right: the same text once both are plain, or the same number (1/2, 0.5 and \frac{1}{2} are; so are numbers within 1e-9 of the
 * larger, the rounding of programs, unless both are whole), or, for a truth that is no whole number, one within `tolerance` of it.
 */
export function sameAnswer(found: string, truth: string, options: SameAnswerOptions = {}): boolean {
  const { tolerance = 0 } = options
  const [own, right] = [plainAnswer(found), plainAnswer(truth)]
  if (own === right || (/^[A-J]$/.test(right) && own.toUpperCase() === right)) return true
  const [value, target] = [numberOf(own), numberOf(right)]
  if (value === undefined || target === undefined) return false
  if (Number.isInteger(value) && Number.isInteger(target)) return value === target
  const miss = Math.abs(value - target)
  if (miss <= 1e-9 * Math.max(Math.abs(value), Math.abs(target))) return true
  return !Number.isInteger(target) && miss <= tolerance * Math.abs(target)
}

/** Whether the text is a program that prints its answer, and not an answer: METHODS' test, `print(`. */
export function needsProgram(text: string): boolean {
  return text.includes('print(')
}

/** The program in a text: the last fenced block that prints, else the whole text. */
export function programSource(text: string): string {
  const blocks = [...text.matchAll(/```[^\n`]*\n(.*?)(?:```|$)/gs)].map(([, code]) => code).filter(needsProgram)
  return blocks.at(-1) ?? text
}

/**
 * An answer without what does not matter to it: currency, per cent, units, commas of thousands, zeros at the end, white space, a full stop,
 * and LaTeX's ways to set the same thing.
 */
export function plainAnswer(answer: string): string {
  const choice = maybeChoice(answer, true)
  if (choice !== undefined) return choice
  const text = stripLatex(answer.trim())
  const number = soleNumber(text)
  if (number !== undefined) return plainNumber(number)
  return text.replace(/\s+/g, '').replace(/[.,;:]+$/, '')
}

/** The answer at the start of a text that follows "The answer is"; undefined where there is nothing. */
function statedAnswer(rest: string): string | undefined {
  const line = rest.trimStart().split('\n', 1)[0]
  const boxed = lastBoxed(line)
  if (boxed !== undefined) return plainAnswer(boxed)
  const said = line.replace(/^[*_"'\s]+/, '')
  const choice = maybeChoice(said, false)
  if (choice !== undefined) return choice
  // The sentence ends where white space follows a full stop that is not of `Rs. 500`.
  const sentence = said.split(/(?<!^\p{L}{1,3})\.(?=\s|$|\*)/u, 1)[0].replace(/[*_"'\s]+$/, '')
  const plain = stripLatex(sentence)
  const number = soleNumber(plain) ?? (isWords(plain) ? plain.match(NUMBER)?.[0] : undefined)
  if (number !== undefined) return plainNumber(number)
  const answer = plainAnswer(sentence)
  return answer === '' ? undefined : answer
}

/** `B`, `(B)`, `B.`; where more may follow also `B) 25 km` and `(B) 25 km`. */
function maybeChoice(text: string, alone: boolean): string | undefined {
  const rest = alone ? String.raw`[.):]*\s*$` : String.raw`(?:[.):,]|\s*$)`
  const inner = text.trim().replace(/^\$?\\(?:text|textbf|mathrm)\s*\{\s*(.*?)\s*\}\$?/, '$1')
  const found = new RegExp(String.raw`^(?:\(([A-Ja-j])\)${alone ? rest : ''}|([A-J])${rest})`).exec(inner)
  return (found?.[1] ?? found?.[2])?.toUpperCase()
}

/** The content of the last \boxed{…}, whose braces may hold others; or of `\boxed 5`. */
function lastBoxed(text: string): string | undefined {
  const at = Math.max(text.lastIndexOf('\\boxed'), text.lastIndexOf('\\fbox'))
  if (at < 0) return undefined
  const rest = text.slice(at).replace(/^\\f?box(?:ed)?/, '')
  if (!/^\s*\{/.test(rest)) return /^\s*([^\s$]+)/.exec(rest)?.[1]
  const open = rest.indexOf('{')
  let depth = 0
  for (let i = open; i < rest.length; i++) {
    if (rest[i] === '{') depth++
    else if (rest[i] === '}' && --depth === 0) return rest.slice(open + 1, i)
  }
  // Cut off before it was closed.
  return rest.slice(open + 1)
}

function stripLatex(text: string): string {
  return text
    .replace(/−/g, '-')
    .replace(/\\+(?:left|right|displaystyle|,|;|!|:)(?![a-zA-Z])/g, '')
    .replace(/\\[dt]frac(?![a-zA-Z])/g, '\\frac')
    .replace(/\\frac\s*(\d)\s*(\d)/g, '\\frac{$1}{$2}')
    .replace(/\^\s*\{?\s*\\circ\s*\}?|°/g, '')
    .replace(/\\(?:text|textbf|mathrm|mbox)\s*\{([^{}]*)\}/g, ' $1 ')
    .replace(/\\+[()[\]]|\\*\$|\\*%/g, '')
    .replace(/[€£¥₹]/g, '')
    .replace(/~|\\ /g, ' ')
    .trim()
}

/** The number of a text that has one, at its start, and else words of a unit: `18 dollars`, `USD 5`, `x = 5`, `3.5 km/h`, `2 square metres`. */
function soleNumber(text: string): string | undefined {
  const numbers = [...text.matchAll(NUMBER)]
  if (numbers.length !== 1) return undefined
  const [{ 0: number, index }] = numbers
  const before = text.slice(0, index).trim()
  const after = text.slice(index + number.length).trim()
  const isBefore = /^(?:\p{L}+\.?|\p{L}\s*=|=|:)?$/u.test(before)
  return isBefore && /^(?:\p{L}[\p{L}\s/.^²³-]*)?[.,;:!]*$/u.test(after) && !/^\p{L}$/u.test(after) ? number : undefined
}

/** Whether a text is a sentence, with nothing of a formula in it. */
const isWords = (text: string) => /\p{L}{2,}/u.test(text) && !/[\\^_{}=<>√π()[\]]/u.test(text)

/** `1,234.50` as `1234.5`, `+.5` as `0.5`, `6 / 8` as `6/8`, `-0` as `0`. */
function plainNumber(number: string): string {
  const [whole, below] = number.replace(/−/g, '-').replace(/[,\s]/g, '').split('/')
  const one = (text: string) => {
    const [, sign, digits, decimals = '', exponent = ''] = /^([-+]?)(\d*)(?:\.(\d*))?(e.*)?$/i.exec(text) ?? []
    if (exponent !== '') return String(Number(text))
    const integer = digits.replace(/^0+(?=\d)/, '') || '0'
    const rest = decimals.replace(/0+$/, '')
    const value = rest === '' ? integer : `${integer}.${rest}`
    return sign === '-' && value !== '0' ? `-${value}` : value
  }
  return below === undefined ? one(whole) : `${one(whole)}/${one(below)}`
}

/** The value of a plain number, `a/b` or \frac{a}{b}. */
function numberOf(plain: string): number | undefined {
  const fraction = /^(-?)\\frac\{(-?[\d.]+)\}\{(-?[\d.]+)\}$/.exec(plain) ?? /^(-?)(\d[\d.]*)\/(\d[\d.]*)$/.exec(plain)
  const value =
    fraction === null
      ? /^-?(?:\d|\.\d)/.test(plain)
        ? Number(plain)
        : Number.NaN
      : ((fraction[1] === '-' ? -1 : 1) * Number(fraction[2])) / Number(fraction[3])
  return Number.isFinite(value) ? value : undefined
}
