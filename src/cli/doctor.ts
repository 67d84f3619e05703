/** `winnow doctor`: what this machine has, what does not work and what to do about it. */

import type { Command } from 'commander'
import type { ExitCode } from './fault.ts'
import type { Diagnosis } from './machine.ts'
import { bytes, counted } from './numbers.ts'
import { type Terminal, terminalOf, wrap, writeJson } from './terminal.ts'

const NAME_WIDTH = 18

/** One row: a mark, a name, what was found; below it, what to do. */
function row(terminal: Terminal, state: 'ok' | 'warn' | 'bad' | 'none', name: string, text: string, hint?: string) {
  const marks = { ok: ['✓', 'ok'], warn: ['!', '! '], bad: ['✗', 'x '], none: [' ', '  '] }
  const colours = { ok: 'green', warn: 'yellow', bad: 'red', none: 'dim' } as const
  const mark = terminal.style(colours[state], marks[state][terminal.unicode ? 0 : 1])
  const left = terminal.unicode ? 2 : 3
  const indent = ' '.repeat(left + NAME_WIDTH)
  const room = Math.max(30, terminal.columns() - indent.length - 1)
  const lines = [
    ...wrap(text, room),
    ...(hint === undefined ? [] : wrap(hint, room).map((l) => terminal.style('dim', l))),
  ]
  return `${mark} ${name.padEnd(NAME_WIDTH)}${lines.join(`\n${indent}`)}\n`
}

/** A diagnosis as a page of text. */
export function renderDiagnosis(found: Diagnosis, terminal: Terminal): string {
  const line = (...cells: [state: 'ok' | 'warn' | 'bad' | 'none', name: string, text: string, hint?: string]) =>
    row(terminal, ...cells)
  const speed = (gflops?: number) =>
    gflops === undefined ? '' : `, ${gflops < 10 ? gflops.toFixed(1) : Math.round(gflops)} GFLOP/s at a matrix product`
  const out = [
    line('none', 'winnow', found.winnow.split(' ')[1]),
    line(
      found.node.ok ? 'ok' : 'bad',
      'Node.js',
      `${found.node.version} (made for ${found.node.wanted})`,
      found.node.ok ? undefined : 'Install a newer Node.js: https://nodejs.org.',
    ),
    line('none', 'platform', `${found.platform.system} ${found.platform.arch}, ${found.platform.release}`),
    line('none', 'cores', `${found.cores.available} (${found.cores.model})`),
    line('none', 'memory', `${bytes(found.memory.totalBytes)}, ${bytes(found.memory.freeBytes)} free`),
  ]
  for (const { name, ok, version, reason } of found.packages) {
    const hint = ok ? undefined : 'Install again; this package has a native part for each platform.'
    out.push(line(ok ? 'ok' : 'bad', name, ok ? (version ?? 'loads') : `does not load: ${reason}`, hint))
  }
  for (const { name, ok, reason, software, gflops, hint } of found.devices) {
    const isBad = name === 'cpu' && !ok
    const text = !ok ? `does not work: ${reason}` : `${software ? `works on ${software}` : 'works'}${speed(gflops)}`
    out.push(line(isBad ? 'bad' : ok && !software ? 'ok' : 'warn', `device ${name}`, text, hint))
  }
  out.push(line('none', '--device auto', `takes ${found.auto}`))
  for (const { purpose, path, writable, freeBytes, reason } of found.places) {
    const free = freeBytes === undefined ? '' : `, ${bytes(freeBytes)} free`
    const hint = writable ? undefined : 'Work in another directory, or change its permissions.'
    out.push(
      line(writable ? 'ok' : 'warn', purpose, `${path}${free}${writable ? '' : `, not writable (${reason})`}`, hint),
    )
  }
  const verdict = found.ok
    ? 'winnow can work here.'
    : 'winnow cannot train a proxy here: the cpu device does not work (see above).'
  const problems = found.packages.filter(({ ok }) => !ok).length
  return `${out.join('')}\n${verdict}${problems === 0 ? '' : ` ${counted(problems, 'package')} did not load.`}\n`
}

export function addDoctor(program: Command, exit: (code: ExitCode) => void): void {
  program
    .command('doctor')
    .summary('say what this machine has, what does not work and why')
    .description(
      'Looks at Node.js, memory, disks, the native packages and each device, and says what does not work, why, and what to do.\n' +
        'Exit code 0 when the cpu device works, else 1.',
    )
    .option('--json', 'one JSON object on standard output')
    .option('--verbose', 'show where an unexpected error came from')
    .action(async (options: { json?: boolean }) => {
      const progress = terminalOf(process.stderr)
      const say = (text: string) => progress.interactive && progress.write(`\r\u001b[2K${text}`)
      const { diagnose } = await import('./machine.ts')
      const found = await diagnose((step) => say(progress.style('dim', `${step} …`)))
      say('')
      if (options.json) writeJson(found)
      else {
        const page = terminalOf(process.stdout)
        page.write(renderDiagnosis(found, page))
      }
      exit(found.ok ? 0 : 1)
    })
}
