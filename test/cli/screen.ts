/** A terminal for tests, without colours: keeps what was written. */

import type { Terminal } from '../../src/cli/terminal.ts'

export interface Screen extends Terminal {
  /** All that was written. */
  readonly written: string
  /** What a terminal would show: lines, with redrawn ones as they are now. */
  readonly lines: string[]
}

export function screen({ columns = 80, interactive = false, unicode = true }): Screen {
  let written = ''
  return {
    interactive,
    unicode,
    columns: () => columns,
    style: (_, text) => text,
    write: (text) => {
      written += text
    },
    get written() {
      return written
    },
    get lines() {
      return written.split('\n').map((line) => line.slice(line.lastIndexOf('\r') + 1).replace('\u001b[2K', ''))
    },
  }
}
