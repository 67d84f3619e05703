/** Streams that people read: their width, colours and characters. Data goes to standard output, through `writeData`. */

import { stripVTControlCharacters, styleText } from 'node:util'
import { visibleText } from '../report/html.ts'

export type Style = Parameters<typeof styleText>[0]

export interface Terminal {
  /** A line can be redrawn. */
  readonly interactive: boolean
  /** Whether block elements and check marks can be shown. */
  readonly unicode: boolean
  /** Characters in a line, now. */
  columns(): number
  write(text: string): void
  /** `text` in colour where the stream shows colours (NO_COLOR, FORCE_COLOR and NODE_DISABLE_COLORS are respected). */
  style(format: Style, text: string): string
}

/** Standard error or output. `TERM=dumb` counts as a stream that cannot be redrawn. */
export function terminalOf(stream: NodeJS.WriteStream): Terminal {
  return {
    interactive: stream.isTTY === true && process.env.TERM !== 'dumb',
    unicode: process.platform === 'win32' || process.env.TERM !== 'linux',
    columns: () => stream.columns ?? 80,
    write: (text) => void stream.write(text),
    style: (format, text) => styleText(format, text, { stream }),
  }
}

/** A reader that goes away (`| head`) must not end the work: what is written after that is dropped. */
export function tolerateClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_DESTROYED') throw error
    })
  }
}

/** Data on standard output, with a line feed at its end. */
export function writeData(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** One JSON object on standard output: indented for a person, on one line for a program. */
export function writeJson(value: unknown): void {
  writeData(process.stdout.isTTY ? JSON.stringify(value, null, 2) : JSON.stringify(value))
}

/** Text of files (names, fields, values) on one line, with nothing in it that a terminal would obey. */
export function plain(text: string): string {
  return visibleText(text).replaceAll(/[\t\n]/g, ' ')
}

/** Characters that a text takes in a terminal, its colours not counted. */
export function width(text: string): number {
  return [...stripVTControlCharacters(text)].length
}

/** Two columns, the first padded to its widest cell; an empty first cell continues the row above. */
export function pairs(rows: readonly (readonly [string, string])[], indent = '  '): string {
  const first = Math.max(...rows.map(([name]) => width(name)))
  return rows.map(([name, value]) => `${indent}${name}${' '.repeat(first - width(name))}  ${value}\n`).join('')
}

/** `text` broken at spaces into lines of at most `columns` characters; longer words stay whole. */
export function wrap(text: string, columns: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && width(line) + 1 + width(word) > columns) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
