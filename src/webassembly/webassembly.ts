/** The part of the WebAssembly JavaScript API used here: TypeScript declares it only together with the whole DOM. */

export interface WasmMemory {
  readonly buffer: ArrayBuffer | SharedArrayBuffer
}

/** Compiled code; can be posted to other threads. */
export interface WasmModule {
  readonly [Symbol.toStringTag]: 'WebAssembly.Module'
}

interface WasmApi {
  Memory: new (pages: { initial: number; maximum: number; shared: boolean }) => WasmMemory
  validate(bytes: Uint8Array): boolean
  compile(bytes: Uint8Array): Promise<WasmModule>
  /** Compile and instantiate at once: for modules of a few kilobytes. */
  Module: new (
    bytes: Uint8Array,
  ) => WasmModule
  Instance: new (module: WasmModule, imports: Record<string, Record<string, unknown>>) => { exports: unknown }
  instantiate(module: WasmModule, imports: Record<string, Record<string, unknown>>): Promise<{ exports: unknown }>
}

export const { WebAssembly } = globalThis as unknown as { WebAssembly: WasmApi }
