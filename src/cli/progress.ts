/** Draws what a pipeline tells: one redrawn line in a terminal, calm plain lines elsewhere. */

import type { Notice } from '../methods/method.ts'
import type { PipelineEvent, StageName, StageProgress, Step } from '../pipeline/events.ts'
import { createMeter, type Meter } from './meter.ts'
import { bytes, count, duration } from './numbers.ts'
import { plain, type Terminal, width } from './terminal.ts'

export interface ProgressOptions {
  terminal: Terminal
  /** Seconds of a clock that only goes forward. Default: the process's. */
  now?: () => number
  /** Resident memory of the process, bytes. */
  memory?: () => number
  /** Whether to draw between events too, for a clock that moves while nothing else does. Default true. */
  ticking?: boolean
}

export interface Progress {
  onEvent(event: PipelineEvent): void
  /** A line of its own, above the redrawn one. */
  print(line: string): void
  /** Notices told so far. */
  readonly notices: readonly Notice[]
  /** Takes the redrawn line away and stops drawing. */
  close(): void
}

const LABELS: Record<Step, string> = {
  model: 'open model',
  read: 'read the pool',
  tokenizer: 'train tokenizer',
  tokens: 'tokenise',
  bigram: 'bigram baseline',
  trajectories: 'train and score',
  initial: 'score the start',
  unconditional: 'score answers',
  import: 'import losses',
  clusters: 'cluster',
  target: 'read the target',
  ngrams: 'count n-grams',
  encoder: 'open encoder',
  embeddings: 'embed the pool',
  'target-embeddings': 'embed target',
  copies: 'find copies',
  domains: 'domain test',
  transport: 'solve transport',
  scores: 'score the pool',
  distinct: 'near duplicates',
  neighbours: 'neighbours',
  importance: 'weigh n-grams',
  cells: 'group vectors',
  coverage: 'cover the pool',
  spread: 'spread picks',
  redundancy: 'find likenesses',
  near: 'compare picks',
  select: 'select',
  write: 'write records',
  report: 'write report',
  score: 'score',
  generate: 'generate',
  programs: 'run programs',
  bertscore: 'BERTScore',
  toxicity: 'toxicity',
  train: 'train',
  save: 'save',
  plan: 'write plan',
  picks: 'pick',
  targets: 'train targets',
  gradients: 'gradients',
  analysis: 'analyse',
}
/** `tokenise`; `pick: tokenise` in a run of several sections. */
function labelOf(stage: StageName): string {
  if (stage in LABELS) return LABELS[stage as Step]
  const [section, step] = stage.split('-') as [string, Step]
  return `${section}: ${step === 'read' ? 'read' : LABELS[step]}`
}
const LABEL_WIDTH = Math.max(...Object.values(LABELS).map(width))

/** Seconds between two drawings of the line. */
const REDRAW = 0.1
/** Seconds between two plain lines, or a tenth of the time that the stage has taken where that is more: a night's log stays readable. */
const CALM = 5
const CALM_SHARE = 0.1
/** The first plain line of a stage that takes a while comes earlier. */
const CALM_FIRST = 1

interface Running {
  stage: StageName
  since: number
  drawn: number
  progress: StageProgress
  meter: Meter
}

/** 1:04, 32:57, 1:02:33: as short as a redrawn line needs it. */
export function clock(seconds: number): string {
  const total = Math.ceil(seconds)
  const [hours, minutes] = [Math.floor(total / 3600), Math.floor((total % 3600) / 60)]
  const two = (value: number) => String(value).padStart(2, '0')
  return `${hours > 0 ? `${hours}:${two(minutes)}` : minutes}:${two(total % 60)}`
}

/** What is known of a running stage, in words. */
function facts(
  { progress, meter }: Running,
  { now, memory, short }: { now: number; memory: number; short: boolean },
): Record<string, string | undefined> {
  const rate = progress.unit === undefined ? undefined : meter.rate()
  const left = meter.left(now)
  const perSecond =
    rate === undefined ? '' : progress.unit === 'bytes' ? bytes(rate) : `${count(rate)} ${progress.unit ?? ''}`
  return {
    left:
      left === undefined
        ? undefined
        : `${short ? clock(left) : duration(left < 10 ? Math.ceil(left) : left).replace('.0', '')} left`,
    rate: rate === undefined || rate <= 0 ? undefined : `${perSecond}/s`,
    loss: progress.loss === undefined ? undefined : `loss ${progress.loss.toFixed(3)}`,
    memory: `${bytes(memory)} memory`,
    detail: progress.detail === undefined ? undefined : plain(progress.detail),
  }
}

const IMPORTANCE = ['left', 'rate', 'loss', 'memory', 'detail']
const ORDER = ['rate', 'loss', 'left', 'memory', 'detail']
const wholePercent = (fraction: number) => `${Math.floor(100 * Math.min(1, Math.max(0, fraction)))} %`

function bar(fraction: number, size: number, unicode: boolean): string {
  const full = Math.floor(size * Math.min(1, Math.max(0, fraction)))
  return (unicode ? '█' : '#').repeat(full) + (unicode ? '░' : '.').repeat(size - full)
}

/** `  5/9 train and score  ████░░░░   52 %  3,120 tokens/s  loss 2.913  1:04 left  412 MB memory`, narrower than `columns`. */
export function progressLine(
  head: string,
  running: { progress: StageProgress; facts: Record<string, string | undefined> },
  { columns, unicode }: { columns: number; unicode: boolean },
): string {
  const share = wholePercent(running.progress.fraction).padStart(5)
  const size = columns >= 100 ? 24 : columns >= 60 ? 8 : 0
  const start = `${head}${size === 0 ? '' : `  ${bar(running.progress.fraction, size, unicode)}`}  ${share}`
  let room = columns - 1 - width(start)
  const shown = new Set<string>()
  for (const name of IMPORTANCE) {
    const text = running.facts[name]
    if (text === undefined || width(text) + 2 > room) continue
    shown.add(name)
    room -= width(text) + 2
  }
  const line = [start, ...ORDER.filter((name) => shown.has(name)).map((name) => running.facts[name])].join('  ')
  return [...line].slice(0, Math.max(0, columns - 1)).join('')
}

export function createProgress(options: ProgressOptions): Progress {
  const { terminal } = options
  const now = options.now ?? (() => performance.now() / 1000)
  const memory = options.memory ?? (() => process.memoryUsage.rss())
  const notices: Notice[] = []
  let stages: StageName[] = []
  let running: Running | undefined
  let lineShown = false

  const place = (stage: StageName) => {
    const at = stages.indexOf(stage)
    return at < 0 ? '' : `${String(at + 1).padStart(String(stages.length).length)}/${stages.length} `
  }
  const head = (stage: StageName) => `${place(stage)}${labelOf(stage).padEnd(LABEL_WIDTH)}`

  const clear = () => {
    if (lineShown) terminal.write('\r\u001b[2K')
    lineShown = false
  }
  const print = (line: string) => {
    clear()
    terminal.write(`${line}\n`)
  }
  const draw = () => {
    if (running === undefined) return
    const at = now()
    if (terminal.interactive) {
      if (at - running.drawn < REDRAW) return
      running.drawn = at
      const line = progressLine(
        `  ${head(running.stage)}`,
        { progress: running.progress, facts: facts(running, { now: at, memory: memory(), short: true }) },
        { columns: terminal.columns(), unicode: terminal.unicode },
      )
      const start = Math.min(line.length, head(running.stage).length + 2)
      terminal.write(`\r\u001b[2K${terminal.style('cyan', line.slice(0, start))}${line.slice(start)}`)
      lineShown = true
      return
    }
    const first = running.drawn === Number.NEGATIVE_INFINITY
    const calm = first ? CALM_FIRST : Math.max(CALM, CALM_SHARE * (at - running.since))
    if (at - (first ? running.since : running.drawn) < calm) return
    running.drawn = at
    const known = facts(running, { now: at, memory: memory(), short: false })
    const words = ORDER.flatMap((name) => known[name] ?? [])
    print(`${head(running.stage).trimEnd()}: ${[wholePercent(running.progress.fraction), ...words].join(', ')}`)
  }

  const timer = options.ticking === false ? undefined : setInterval(draw, 1000 * (terminal.interactive ? REDRAW : 0.5))
  timer?.unref()

  return {
    notices,
    print,
    onEvent(event) {
      switch (event.kind) {
        case 'plan':
          stages = event.stages
          break
        case 'stage-start':
          running = {
            stage: event.stage,
            since: now(),
            drawn: Number.NEGATIVE_INFINITY,
            progress: { fraction: 0 },
            meter: createMeter(),
          }
          if (event.resumedParts > 0) {
            const parts = event.resumedParts === 1 ? 'part' : 'parts'
            print(`${head(event.stage).trimEnd()}: goes on after ${count(event.resumedParts)} finished ${parts}`)
          }
          draw()
          break
        case 'stage-progress':
          if (running?.stage !== event.stage) break
          running.progress = { ...running.progress, ...event.progress }
          running.meter.observe(now(), running.progress)
          draw()
          break
        case 'stage-end': {
          const mark = terminal.interactive ? `${terminal.style('green', terminal.unicode ? '✓' : '*')} ` : ''
          const time = event.cached ? 'kept from before' : duration(event.seconds)
          const summary = event.summary === undefined ? '' : `  ${plain(event.summary)}`
          print(`${mark}${head(event.stage)}  ${time.padStart(10)}${summary}`)
          running = undefined
          break
        }
        case 'notice':
          notices.push(event.notice)
          print(`${terminal.style('yellow', 'note:')} ${plain(event.notice.message)}`)
          break
      }
    },
    close() {
      clearInterval(timer)
      running = undefined
      clear()
    },
  }
}
