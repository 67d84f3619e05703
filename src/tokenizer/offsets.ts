/** Where tokens lie in the text they encode: half-open ranges of UTF-16 code units, one a token. */

import { maybeTokenBytes } from './byte-alphabet.ts'
import type { TokenizerJson } from './tokenizer-json.ts'

export interface TokenOffsets {
  /** [n] */
  starts: Uint32Array
  /** [n], exclusive. A token of some bytes of a character has the whole character. */
  ends: Uint32Array
}

/** Offsets of a byte-level tokenizer from the lengths of its tokens. O(text) a call; the table of lengths is made at the first. */
export function byteOffsets(
  json: TokenizerJson,
  normalise: (text: string) => string,
): (text: string, ids: Uint32Array) => TokenOffsets | undefined {
  let lengths: Uint32Array | undefined
  return (text, ids) => {
    const wellFormed = text.toWellFormed()
    if (normalise(wellFormed) !== wellFormed) return undefined
    lengths ??= byteLengths(json)
    const starts = new Uint32Array(ids.length)
    const ends = new Uint32Array(ids.length)
    // The character at `at` begins at byte `reached`.
    let [at, reached, position] = [0, 0, 0]
    const seek = (byte: number) => {
      for (;;) {
        const code = wellFormed.codePointAt(at) ?? 0
        const length = utf8Length(code)
        if (reached + length > byte || at >= wellFormed.length) return code > 0xffff ? 2 : 1
        reached += length
        at += code > 0xffff ? 2 : 1
      }
    }
    for (let i = 0; i < ids.length; i++) {
      seek(position)
      starts[i] = at
      position += lengths[ids[i]]
      ends[i] = seek(position - 1) + at
    }
    return position === Buffer.byteLength(wellFormed) ? { starts, ends } : undefined
  }
}

function utf8Length(code: number): number {
  return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4
}

function byteLengths(json: TokenizerJson): Uint32Array {
  const tokens = Object.entries(json.model.vocab)
  const added = json.added_tokens ?? []
  let size = 0
  for (const [, id] of tokens) if (id >= size) size = id + 1
  for (const { id } of added) if (id >= size) size = id + 1
  const lengths = new Uint32Array(size)
  for (const [token, id] of tokens) lengths[id] = maybeTokenBytes(token)?.length ?? Buffer.byteLength(token)
  for (const { id, content } of added) lengths[id] = Buffer.byteLength(content)
  return lengths
}

/** Offsets in code points, [2n], as offsets in UTF-16 code units. */
export function codePointOffsets(text: string, offsets: Uint32Array): TokenOffsets {
  const count = offsets.length / 2
  const starts = new Uint32Array(count)
  const ends = new Uint32Array(count)
  const places: number[] = []
  for (let i = 0; i < text.length; i += text.codePointAt(i)! > 0xffff ? 2 : 1) places.push(i)
  places.push(text.length)
  for (let i = 0; i < count; i++) {
    starts[i] = places[offsets[2 * i]]
    ends[i] = places[offsets[2 * i + 1]]
  }
  return { starts, ends }
}

/** Whether each token overlaps one of the spans (half-open, ascending): a token that straddles a border is in. [n] */
export function overlapping({ starts, ends }: TokenOffsets, spans: readonly (readonly [number, number])[]): Uint8Array {
  const inside = new Uint8Array(starts.length)
  let next = 0
  for (let i = 0; i < starts.length; i++) {
    while (next < spans.length && spans[next][1] <= starts[i]) next++
    if (next < spans.length && spans[next][0] < ends[i]) inside[i] = 1
  }
  return inside
}
