/** What Python's `str` and `datetime` do and JavaScript does otherwise, as far as chat templates use it. */

/** White space to Python's `str.isspace`, as a character class without its brackets; JavaScript's has U+FEFF in it, and not U+001C-U+001F and U+0085. */
const SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000'
const IS_SPACE = new RegExp(`[${SPACE}]`)

/** Start and end of `text` without the white space around it, or without `characters`. */
export function stripped(text: string, characters?: string): [start: number, end: number] {
  const set = characters === undefined ? undefined : new Set(characters)
  const drop = set ? (character: string) => set.has(character) : (character: string) => IS_SPACE.test(character)
  let [start, end] = [0, text.length]
  while (start < end && drop(text[start])) start++
  while (end > start && drop(text[end - 1])) end--
  return [start, end]
}

/** `str.strip`, `lstrip`, `rstrip`; `characters`: those to strip, default white space. A value that is no string is made one. */
export function strip(value: unknown, side: 'strip' | 'lstrip' | 'rstrip', characters?: string): string {
  const text = value === null || value === undefined ? '' : String(value)
  const [start, end] = stripped(text, characters)
  return text.slice(side === 'rstrip' ? 0 : start, side === 'lstrip' ? undefined : end)
}

const MONTHS = 'January February March April May June July August September October November December'.split(' ')
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ')

/** Python's `strftime` in the C locale at midnight of `date`, for the directives that dates need. */
export function strftime(format: string, date: string): string {
  const day = new Date(`${date}T00:00:00Z`)
  const two = (value: number) => String(value).padStart(2, '0')
  const [year, month, week] = [day.getUTCFullYear(), day.getUTCMonth(), day.getUTCDay()]
  const values: Record<string, string> = {
    Y: String(year),
    y: two(year % 100),
    m: two(month + 1),
    d: two(day.getUTCDate()),
    B: MONTHS[month],
    b: MONTHS[month].slice(0, 3),
    A: DAYS[week],
    a: DAYS[week].slice(0, 3),
    H: '00',
    I: '12',
    M: '00',
    S: '00',
    p: 'AM',
    j: String(1 + Math.round((day.getTime() - Date.UTC(year, 0, 1)) / 86_400_000)).padStart(3, '0'),
    '%': '%',
  }
  return format.replace(/%(-?)([a-zA-Z%])/g, (whole, bare, letter) => {
    const value = values[letter]
    if (value === undefined) return whole
    return bare && /^\d/.test(value) ? String(Number(value)) : value
  })
}
