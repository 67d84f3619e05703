/** Names beside an axis: how wide they are, and how they are cut to fit. */

import { truncate, visibleText } from './html.ts'

/** A name as one line of an axis, cut to 60 characters. */
export function axisLabel(name: string): string {
  return visibleText(truncate(name, 60)).replace(/\s+/g, ' ')
}

/** Upper estimate of a label's width in pixels at 12 px: narrow letters and full-width ones. */
export function labelWidth(label: string): number {
  let width = 0
  for (const character of label) width += character.codePointAt(0)! < 0x1100 ? 7 : 13
  return width
}

/** The label cut to an estimated width. */
export function shorten(label: string, width: number): string {
  let cut = label
  while (labelWidth(cut) > width) cut = truncate(cut, cut.length - 1)
  return cut
}

/** The label cut in its middle to an estimated width: names that differ at their ends stay apart. */
export function shortenMiddle(label: string, width: number): string {
  if (labelWidth(label) <= width) return label
  const characters = [...label]
  for (let kept = characters.length - 1; kept > 1; kept--) {
    const head = Math.ceil(kept / 2)
    const cut = `${characters.slice(0, head).join('')}…${characters.slice(characters.length - (kept - head)).join('')}`
    if (labelWidth(cut) <= width) return cut
  }
  return shorten(label, width)
}
