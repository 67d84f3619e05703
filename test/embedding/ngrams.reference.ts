/** The `ngrams` embedding written down slowly: windows by regular expressions, hashes in big integers, one feature at a time. */

const FEATURES = 2 ** 17
const WIDE = String.raw`(?:[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]|(?![\0-\x7f])\p{S})(?<!\p{M})`
const RUNS = new RegExp(String.raw`(?:${WIDE}\p{M}*)+|(?:(?!${WIDE})[\p{L}\p{N}]\p{M}*)+`, 'gu')
const IS_WIDE = new RegExp(`^${WIDE}$`, 'u')

const [START, END, ALONE, PAIR] = [0x110000, 0x110001, 0x110002, 0x110003]

function windows(text: string): number[][] {
  const runs = text.normalize('NFKC').toLowerCase().match(RUNS) ?? []
  return runs.flatMap((run) => {
    const wide = IS_WIDE.test(String.fromCodePoint(run.codePointAt(0)!))
    const points = [...run].filter((c) => !wide || !/\p{M}/u.test(c)).map((c) => c.codePointAt(0)!)
    if (wide)
      return points.flatMap((c, i) =>
        i === 0
          ? [[ALONE, ALONE, c]]
          : [
              [ALONE, ALONE, c],
              [PAIR, points[i - 1], c],
            ],
      )
    const closed = [START, ...points, END]
    return points.map((_, i) => closed.slice(i, i + 3))
  })
}

const low = (value: bigint) => BigInt.asUintN(32, value)

function featureOf([a, b, c]: number[]): number {
  let h = low((low(BigInt(a) * 0x9e3779b1n) + BigInt(b)) * 0x85ebca6bn)
  h = low((h + BigInt(c)) * 0xc2b2ae35n)
  h = low((h ^ (h >> 15n)) * 0x2c1b3c6dn)
  return Number((h ^ (h >> 16n)) >> 15n)
}

function mix(value: bigint): bigint {
  let h = low((value ^ (value >> 16n)) * 0x85ebca6bn)
  h = low((h ^ (h >> 13n)) * 0xc2b2ae35n)
  return h ^ (h >> 16n)
}

export function featureCounts(text: string): Map<number, number> {
  const counts = new Map<number, number>()
  for (const window of windows(text)) counts.set(featureOf(window), (counts.get(featureOf(window)) ?? 0) + 1)
  return counts
}

/** Vectors of `texts` by the frequencies of `pool`, float64. */
export function referenceVectors(pool: string[], texts: string[], d: number): number[][] {
  const frequencies = new Float64Array(FEATURES)
  for (const text of pool) for (const feature of featureCounts(text).keys()) frequencies[feature]++
  return texts.map((text) => {
    const vector = Array<number>(d).fill(0)
    for (const [feature, count] of featureCounts(text)) {
      const weight = (1 + Math.log(count)) * Math.sqrt(Math.log((2 + pool.length) / (1 + frequencies[feature])))
      for (let k = 0; k < 4; k++) {
        const hash = mix(BigInt(4 * feature + k + 1))
        const [first, end] = [Math.floor((k * d) / 4), Math.floor(((k + 1) * d) / 4)]
        const coordinate = first + Math.floor((Number(hash >> 1n) / 2 ** 31) * (end - first))
        vector[coordinate] += hash & 1n ? -weight : weight
      }
    }
    const norm = Math.hypot(...vector)
    return norm === 0 ? vector : vector.map((value) => value / norm)
  })
}
