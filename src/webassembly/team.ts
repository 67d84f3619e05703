/** The threads of a task that is cut into blocks: each takes the next block by ticket until none is left. */

import type { Crew, Parallel } from '../parallel/parallel.ts'

/** A command with the blocks that it is for: those behind the ticket's count and before `end`. */
export interface Stretch<Command> {
  command: Command
  end: number
}

export interface Team<Command> extends AsyncDisposable {
  /**
   * Has blocks [0, blocks) worked on. `alone`: by this thread only, for work that ends sooner than others would hear of
   * it. Results must not depend on who takes which block.
   */
  run(command: Command, blocks: number, alone?: boolean): Promise<void>
}

/** What a worker's `attach` returns, and what the caller's own thread works with. */
export function byTicket<Command>(
  ticket: Int32Array,
  work: (command: Command, block: number) => void,
): (stretch: Stretch<Command>) => void {
  return ({ command, end }) => {
    for (;;) {
      const block = Atomics.add(ticket, 0, 1)
      if (block >= end) return
      work(command, block)
    }
  }
}

/** While workers are still starting, blocks are dealt in this many portions, so that they can join in between. */
const PORTIONS = 24
/** Milliseconds after which timers and aborts get their turn. */
const TURN = 50

/** `shared` goes to the workers' `attach` of `module` (a URL); `handle` is what that returned in this thread. */
export function openTeam<Command>(
  parallel: Parallel | undefined,
  module: string,
  shared: unknown,
  ticket: Int32Array,
  handle: (stretch: Stretch<Command>) => void,
): Team<Command> {
  const crew: Crew | undefined =
    parallel !== undefined && parallel.threads > 1 ? parallel.start(module, shared) : undefined
  let turned = performance.now()
  return {
    async run(command, blocks, alone = false) {
      for (let from = 0; from < blocks; ) {
        const gathering = !alone && crew?.gathering
        const end = gathering ? Math.min(blocks, from + Math.ceil(blocks / PORTIONS)) : blocks
        ticket[0] = from
        const others = alone ? undefined : crew?.run({ command, end })
        try {
          handle({ command, end })
        } finally {
          await others
        }
        from = end
        if (!gathering && performance.now() - turned < TURN) continue
        await turnOfEvents()
        turned = performance.now()
      }
    },
    [Symbol.asyncDispose]: async () => crew?.[Symbol.asyncDispose](),
  }
}

/** Lets the event loop turn once. Browsers have no setImmediate. */
function turnOfEvents(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve)
    else setTimeout(resolve)
  })
}
