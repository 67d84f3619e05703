/**
 * GPT-2's byte alphabet: each byte has one printable character, so that byte strings can be written in JSON.
 * Bytes 33-126, 161-172 and 174-255 stand for themselves; the others, in order, are U+0100, U+0101, …
 * Source: `bytes_to_unicode` of openai/gpt-2, encoder.py. Sorted by character, the bytes are in `BYTE_ORDER`.
 */

/** Character of each byte, [256]. */
export const BYTE_CHARACTERS: readonly string[] = (() => {
  const characters: string[] = []
  let next = 0x100
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
    characters.push(String.fromCharCode(printable ? byte : next++))
  }
  return characters
})()

/** The bytes ordered by their character, [256]: the order of ids in GPT-2's vocabulary. */
export const BYTE_ORDER: readonly number[] = Array.from({ length: 256 }, (_, byte) => byte).sort((a, b) =>
  BYTE_CHARACTERS[a] < BYTE_CHARACTERS[b] ? -1 : 1,
)

const BYTE_OF = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]))

/** Token text of a byte string. */
export function bytesToToken(bytes: ArrayLike<number>, start = 0, end = bytes.length): string {
  let token = ''
  for (let i = start; i < end; i++) token += BYTE_CHARACTERS[bytes[i]]
  return token
}

/** Byte string of a token text, or undefined when a character is outside the alphabet. */
export function maybeTokenBytes(token: string): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length)
  for (let i = 0; i < token.length; i++) {
    const byte = BYTE_OF.get(token[i])
    if (byte === undefined) return undefined
    bytes[i] = byte
  }
  return bytes
}
