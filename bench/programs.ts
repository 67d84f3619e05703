/**
 * Time of a program of an answer in the sandbox, and of the same in a bare Python process (no walls at all), in turns:
 * `node bench/programs.ts [--python python3] [--programs 40]`.
 */

import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { openProgramRunner } from '../src/sandbox/program.ts'
import { median, timed } from './sides.ts'

const { values } = parseArgs({ options: { python: { type: 'string' }, programs: { type: 'string', default: '40' } } })
const count = Number(values.programs)
const source = (i: number) =>
  [
    'from fractions import Fraction',
    'import math',
    `eggs_per_day = ${16 + i}`,
    'eaten = 3',
    'baked = 4',
    'price = Fraction(2)',
    'total = sum(price * (eggs_per_day - eaten - baked) for _ in range(7))',
    'print(math.floor(total))',
  ].join('\n')
const answer = (i: number) => String(14 * (9 + i))

const opening = await timed(() => openProgramRunner({ seconds: 30 }))
const times: Record<string, number[]> = { sandbox: [], python: [] }
await using runner = opening.value
for (let i = 0; i < count; i++) {
  const { value, seconds } = await timed(() => runner.run(source(i)))
  if (value.output?.trim() !== answer(i)) throw new Error(`the program of ${i} gave ${JSON.stringify(value)}`)
  times.sandbox.push(seconds)
  if (values.python === undefined) continue
  const start = performance.now()
  const { stdout } = spawnSync(values.python, ['-I', '-c', source(i)], { encoding: 'utf8' })
  if (stdout.trim() !== answer(i)) throw new Error(`Python gave ${stdout}`)
  times.python.push((performance.now() - start) / 1000)
}
const several = cpus().length
await using many = await openProgramRunner({ seconds: 30, processes: several })
const all = await timed(() => Promise.all(Array.from({ length: count }, (_, i) => many.run(source(i)))))
const result = {
  machine: `${cpus()[0].model}, ${several} cores, Node ${process.version}`,
  programs: count,
  openSeconds: opening.seconds,
  sandboxMedianSeconds: median(times.sandbox),
  ...(times.python.length === 0 ? {} : { pythonMedianSeconds: median(times.python) }),
  [`secondsEachWith${several}Processes`]: all.seconds / count,
}
console.log(result)
mkdirSync('bench/results', { recursive: true })
writeFileSync('bench/results/programs.json', `${JSON.stringify(result, null, 2)}\n`)
