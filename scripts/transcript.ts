/**
 * Records a real session of the main command for README.md (between its transcript markers) and docs/transcript.md: the tree as git
 * sees it is copied to an empty directory, and the command runs there. Usage: node scripts/transcript.ts [further options of select]
 */
import { execFileSync, spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const START = '<!-- transcript:start -->'
const END = '<!-- transcript:end -->'
/** Progress lines of one stage that are shown; those between become one line of dots. */
const SHOWN = { first: 3, last: 2 }

const words = ['select', 'examples/math.jsonl', '--budget', '30%', ...process.argv.slice(2)]
const output = await record(words)
const session = `\`\`\`console\n$ npm start -- ${words.join(' ')}\n${output}\`\`\``
const { model } = cpus()[0]
const machine = `${availableParallelism()} cores (${model.trim()}), ${Math.round(totalmem() / 1e9)} GB of memory, ${process.platform} ${process.arch}, Node.js ${process.versions.node}`
const about = `Recorded ${new Date().toISOString().slice(0, 10)} by \`scripts/transcript.ts\` on ${machine}.`

writeFileSync(join(root, 'docs/transcript.md'), `# A session\n\n${session}\n\n${about}\n`)
const readme = join(root, 'README.md')
if (existsSync(readme)) {
  const text = readFileSync(readme, 'utf8')
  const [start, end] = [text.indexOf(START), text.indexOf(END)]
  if (start < 0 || end < start) throw new Error(`README.md has no ${START} … ${END}`)
  writeFileSync(readme, `${text.slice(0, start + START.length)}\n${session}\n\n${about}\n${text.slice(end)}`)
}
process.stdout.write(`${session}\n`)

/** What the command prints, standard error and output together, as it comes. */
async function record(command: string[]): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'winnow-transcript-'))
  try {
    const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root })
    for (const file of listed.toString().split('\0')) {
      if (file === '' || !existsSync(join(root, file))) continue
      mkdirSync(dirname(join(directory, file)), { recursive: true })
      cpSync(join(root, file), join(directory, file))
    }
    symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'))
    // Its output is a pipe, as in a log: plain lines.
    const child = spawn('npm', ['start', '--', ...command], { cwd: directory, env: { ...process.env, NO_COLOR: '1' } })
    let text = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8')
      stream.on('data', (piece: string) => {
        text += piece
      })
    }
    const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
    if (code !== 0) throw new Error(`the command ended with ${code}:\n${text}`)
    return readable(text.replaceAll(`${directory}/`, ''))
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Without what npm says of itself, and with the middle of long progress left out. */
function readable(text: string): string {
  const lines = text.split('\n').filter((line) => !/^(npm |> |$)/.test(line) || line === '')
  while (lines[0] === '') lines.shift()
  const stageOf = (line: string) => /^(\d+\/\d+ .*): \d+ %, /.exec(line)?.[1]
  const shown: string[] = []
  for (let at = 0; at < lines.length; ) {
    let end = at + 1
    if (stageOf(lines[at]) !== undefined) while (end < lines.length && stageOf(lines[end]) === stageOf(lines[at])) end++
    const run = lines.slice(at, end)
    if (run.length > SHOWN.first + SHOWN.last + 1) {
      const indent = ' '.repeat((/^\d+\/\d+ /.exec(run[0])?.[0] ?? '').length)
      shown.push(...run.slice(0, SHOWN.first), `${indent}…`, ...run.slice(-SHOWN.last))
    } else shown.push(...run)
    at = end
  }
  return `${shown.join('\n').trimEnd()}\n`
}
