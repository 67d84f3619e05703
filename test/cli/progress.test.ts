import { expect, it } from 'vitest'
import { clock, createProgress, progressLine } from '../../src/cli/progress.ts'
import type { StageName } from '../../src/pipeline/events.ts'
import { screen } from './screen.ts'

/** A progress display with a clock that the test moves. */
function display(options: Parameters<typeof screen>[0]) {
  const terminal = screen(options)
  const clock = { now: 0 }
  const progress = createProgress({ terminal, now: () => clock.now, memory: () => 412e6, ticking: false })
  progress.onEvent({ kind: 'plan', stages: ['read', 'trajectories'] })
  const train = (seconds: number) => {
    clock.now = seconds
    progress.onEvent({
      kind: 'stage-progress',
      stage: 'trajectories',
      progress: {
        fraction: seconds / 100,
        done: 3000 * seconds,
        unit: 'tokens',
        loss: 3 - seconds / 100,
        detail: 'training',
      },
    })
  }
  const start = (stage: StageName, resumedParts = 0) => progress.onEvent({ kind: 'stage-start', stage, resumedParts })
  return { terminal, clock, progress, train, start }
}

it('without a terminal: nothing is redrawn, a line after a second, then one each five seconds, one at the end of a stage', () => {
  const { terminal, progress, train, start } = display({})
  progress.onEvent({ kind: 'stage-end', stage: 'read', cached: false, seconds: 0.3, summary: '1,500 rows' })
  start('trajectories')
  for (let tenth = 0; tenth <= 120; tenth++) train(tenth / 10)
  progress.onEvent({ kind: 'stage-end', stage: 'trajectories', cached: false, seconds: 100, summary: 'learned' })
  progress.close()
  expect(terminal.written.split('\n')).toEqual([
    '1/2 read the pool         0.3 s  1,500 rows',
    '2/2 train and score: 1 %, 3,000 tokens/s, loss 2.990, 412 MB memory, training',
    '2/2 train and score: 6 %, 3,000 tokens/s, loss 2.940, 1 min 34 s left, 412 MB memory, training',
    '2/2 train and score: 11 %, 3,000 tokens/s, loss 2.890, 1 min 29 s left, 412 MB memory, training',
    '2/2 train and score  1 min 40 s  learned',
    '',
  ])
})

it('plain lines of a long stage get rarer', () => {
  const { terminal, train, start } = display({})
  start('trajectories')
  for (let second = 0; second <= 2000; second++) train(second)
  expect(terminal.written.split('\n').length).toBeLessThan(50)
})

it('in a terminal: one line, redrawn at most ten times a second, gone when it closes', () => {
  const { terminal, progress, train, start } = display({ interactive: true, columns: 120 })
  start('trajectories')
  for (let thousandth = 1; thousandth <= 10_000; thousandth += 7) train(thousandth / 1000)
  const drawings = terminal.written.split('\r').length - 1
  expect(drawings).toBeGreaterThan(80)
  expect(drawings).toBeLessThanOrEqual(102)
  expect(terminal.lines).toEqual([
    '  2/2 train and score  ██░░░░░░░░░░░░░░░░░░░░░░    9 %  3,000 tokens/s  loss 2.900  1:31 left  412 MB memory  training',
  ])
  progress.close()
  expect(terminal.lines).toEqual([''])
})

it('a line of its own stands above the redrawn one', () => {
  const { terminal, clock, progress, train, start } = display({ interactive: true })
  start('trajectories')
  train(1)
  progress.onEvent({ kind: 'notice', notice: { code: 'duplicates', message: '3 rows are duplicates' } })
  clock.now = 2
  train(2)
  expect(terminal.lines[0]).toBe('note: 3 rows are duplicates')
  expect(terminal.lines[1]).toMatch(/^ {2}2\/2 train and score/)
  expect(progress.notices).toEqual([{ code: 'duplicates', message: '3 rows are duplicates' }])
})

it('says what was kept from an earlier run, and where a stage goes on', () => {
  const { terminal, progress, start } = display({})
  progress.onEvent({ kind: 'stage-end', stage: 'read', cached: true, seconds: 12 })
  start('trajectories', 7)
  expect(terminal.lines).toEqual([
    '1/2 read the pool    kept from before',
    '2/2 train and score: goes on after 7 finished parts',
    '',
  ])
})

it('the line never wraps; what matters least goes first', () => {
  const facts = {
    left: '4 s left',
    rate: '3,000 tokens/s',
    loss: 'loss 2.900',
    memory: '412 MB memory',
    detail: 'training',
  }
  const at = (columns: number) =>
    progressLine('2/2 train and score', { progress: { fraction: 0.5 }, facts }, { columns, unicode: true })
  for (let columns = 1; columns < 200; columns++) expect(at(columns).length).toBeLessThan(columns)
  expect(at(120)).toContain('training')
  expect(at(80)).not.toContain('412 MB')
  expect(at(80)).toContain('loss 2.900')
  expect(at(45)).toBe('2/2 train and score   50 %  4 s left')
})

it('a short time is minutes and seconds, with hours where there are some', () => {
  expect([0.2, 59.5, 64, 1977, 3753].map(clock)).toEqual(['0:01', '1:00', '1:04', '32:57', '1:02:33'])
})
