/** The contract between the core, which may start no threads, and whoever can: Node's worker threads, Web Workers. */

export interface Parallel {
  /** Threads to work on, the caller's own among them. */
  readonly threads: number
  /**
   * Begins to start `threads - 1` workers and returns at once: a worker takes part from when it is ready. Each imports
   * `module` (a URL), calls its exported `attach(shared, worker)`, worker in [1, threads), and keeps the handler that
   * this returns. `shared` is structured-cloned: shared memory stays shared.
   */
  start(module: string, shared: unknown): Crew
}

/** Workers, running or about to. Disposing ends them. */
export interface Crew extends AsyncDisposable {
  /** Whether some worker is not ready yet. */
  readonly gathering: boolean
  /** Gives every ready worker the command; resolves when all have handled it, rejects with the first error. */
  run(command: unknown): Promise<void>
}

/** What a worker module exports as `attach`. */
export type Attach<Shared, Command> = (
  shared: Shared,
  worker: number,
) => ((command: Command) => void) | Promise<(command: Command) => void>
