/** The contract between the core, which may start no threads, and whoever can: Node's worker threads, Web Workers. */

export interface Parallel {
  /** Workers that `start` will bring up. */
  readonly threads: number
  /**
   * Starts the workers. Each imports `module` (a URL), calls its exported `attach(shared, worker)` once, worker in
   * [0, threads), and keeps the handler that this returns. `shared` is structured-cloned: shared memory stays shared.
   */
  start(module: string, shared: unknown): Promise<Crew>
}

/** Running workers. Disposing ends them. */
export interface Crew extends AsyncDisposable {
  /** Gives every worker the command; resolves when all have handled it, rejects with the first error. */
  run(command: unknown): Promise<void>
}

/** What a worker module exports as `attach`. */
export type Attach<Shared, Command> = (
  shared: Shared,
  worker: number,
) => ((command: Command) => void) | Promise<(command: Command) => void>
