/** Fused multiply-add where the machine's WebAssembly has it. */

import { type Code, f32x4 } from './assembler.ts'
import { type WasmModule, WebAssembly } from './webassembly.ts'

/** a * b + c, fused where `relaxed` allows and the machine can. */
export const multiplyAdd = (relaxed: boolean) => (a: Code, b: Code, c: Code) =>
  relaxed ? f32x4.relaxedMadd(a, b, c) : f32x4.add(c, f32x4.mul(a, b))

/** Compiles what `make` gives: with relaxed SIMD where that is valid here, without elsewhere. */
export function compileRelaxed(make: (relaxed: boolean) => Uint8Array<ArrayBuffer>): Promise<WasmModule> {
  const relaxed = make(true)
  return WebAssembly.compile(WebAssembly.validate(relaxed) ? relaxed : make(false))
}
