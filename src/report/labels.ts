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
