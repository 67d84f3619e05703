/**
 * Porter's stemmer (Porter 1980, "An algorithm for suffix stripping") with the deviations of NLTK's default, which rouge-score uses: irregular words, `ies`
 * and `ied`, `y` after a consonant, `alli`, `fulli` and `logi`, words of a vowel and a consonant. npm's stemmers (stemmer 2, porter-stemmer 0.9) follow
 * Porter alone.
 */

const IRREGULAR: Record<string, string> = {
  skies: 'sky',
  sky: 'sky',
  dying: 'die',
  lying: 'lie',
  tying: 'tie',
  news: 'news',
  innings: 'inning',
  inning: 'inning',
  outings: 'outing',
  outing: 'outing',
  cannings: 'canning',
  canning: 'canning',
  howe: 'howe',
  proceed: 'proceed',
  exceed: 'exceed',
  succeed: 'succeed',
}

/** A suffix, what takes its place, and whether the stem before it lets it. */
type Rule = readonly [suffix: string, replacement: string, allows?: (stem: string) => boolean]

const positive = (stem: string) => measure(stem) > 0
const long = (stem: string) => measure(stem) > 1

const rules = (text: string, allows: (stem: string) => boolean): Rule[] =>
  text.split(' ').map((rule) => {
    const [suffix, replacement] = rule.split('>')
    return [suffix, replacement, allows]
  })

const STEP_1A: Rule[] = [
  ['sses', 'ss'],
  ['ies', 'i'],
  ['ss', 'ss'],
  ['s', ''],
]
const STEP_2: Rule[] = [
  ...rules('ational>ate tional>tion enci>ence anci>ance izer>ize bli>ble alli>al entli>ent eli>e ousli>ous', positive),
  ...rules('ization>ize ation>ate ator>ate alism>al iveness>ive fulness>ful ousness>ous aliti>al iviti>ive', positive),
  ...rules('biliti>ble fulli>ful', positive),
  // The l counts as the stem's, so that geology is short like the others.
  ['logi', 'log', (stem) => positive(`${stem}l`)],
]
const STEP_3: Rule[] = rules('icate>ic ative> alize>al iciti>ic ical>ic ful> ness>', positive)
const STEP_4: Rule[] = [
  ...rules('al> ance> ence> er> ic> able> ible> ant> ement> ment> ent>', long),
  ['ion', '', (stem) => long(stem) && /[st]$/.test(stem)],
  ...rules('ou> ism> ate> iti> ous> ive> ize>', long),
]

/** The stem of a word in lower case. Pure; O(letters). */
export function porterStem(word: string): string {
  if (Object.hasOwn(IRREGULAR, word)) return IRREGULAR[word]
  if (word.length <= 2) return word
  let stem = word.length === 4 && word.endsWith('ies') ? word.slice(0, -1) : apply(word, STEP_1A)
  stem = pastOrProgressive(stem)
  if (/.y$/.test(stem) && stem.length > 2 && isConsonant(stem, stem.length - 2)) stem = `${stem.slice(0, -1)}i`
  stem = step2(stem)
  stem = apply(apply(stem, STEP_3), STEP_4)
  if (stem.endsWith('e')) {
    const rest = stem.slice(0, -1)
    if (long(rest) || (measure(rest) === 1 && !endsShort(rest))) stem = rest
  }
  return stem.endsWith('ll') && long(stem.slice(0, -1)) ? stem.slice(0, -1) : stem
}

/** Step 1b. */
function pastOrProgressive(word: string): string {
  if (word.endsWith('ied')) return word.slice(0, word.length === 4 ? -1 : -2)
  if (word.endsWith('eed')) return positive(word.slice(0, -3)) ? word.slice(0, -1) : word
  const suffix = ['ed', 'ing'].find((end) => word.endsWith(end) && hasVowel(word.slice(0, -end.length)))
  if (suffix === undefined) return word
  const stem = word.slice(0, -suffix.length)
  if (/(?:at|bl|iz)$/.test(stem)) return `${stem}e`
  const last = stem.length - 1
  if (last > 0 && stem[last] === stem[last - 1] && isConsonant(stem, last))
    return /[lsz]$/.test(stem) ? stem : stem.slice(0, -1)
  return measure(stem) === 1 && endsShort(stem) ? `${stem}e` : stem
}

function step2(word: string): string {
  if (word.endsWith('alli') && positive(word.slice(0, -4))) return step2(word.slice(0, -2))
  return apply(word, STEP_2)
}

/** The first rule whose suffix the word has decides, whether it lets or not. */
function apply(word: string, list: readonly Rule[]): string {
  for (const [suffix, replacement, allows] of list) {
    if (!word.endsWith(suffix)) continue
    const stem = word.slice(0, word.length - suffix.length)
    return allows === undefined || allows(stem) ? stem + replacement : word
  }
  return word
}

/** A letter but a, e, i, o, u, and y after a vowel or at the start. */
function isConsonant(word: string, at: number): boolean {
  if ('aeiou'.includes(word[at])) return false
  return word[at] !== 'y' || at === 0 || !isConsonant(word, at - 1)
}

/** m of [C](VC){m}[V]: how often a consonant follows a vowel. */
function measure(word: string): number {
  let count = 0
  let before = true
  for (let i = 0; i < word.length; i++) {
    const now: boolean = 'aeiou'.includes(word[i]) ? false : word[i] !== 'y' || i === 0 || !before
    if (now && !before) count++
    before = now
  }
  return count
}

function hasVowel(word: string): boolean {
  for (let i = 0; i < word.length; i++) if (!isConsonant(word, i)) return true
  return false
}

/** Consonant, vowel, consonant but w, x, y; or, as a whole, vowel and consonant. */
function endsShort(word: string): boolean {
  const last = word.length - 1
  if (last === 1) return !isConsonant(word, 0) && isConsonant(word, 1)
  return (
    last >= 2 &&
    isConsonant(word, last - 2) &&
    !isConsonant(word, last - 1) &&
    isConsonant(word, last) &&
    !/[wxy]$/.test(word)
  )
}
