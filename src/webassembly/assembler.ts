/**
 * WebAssembly instructions as byte arrays: what winnow's kernels need of the binary format and no more.
 * An expression is the bytes that leave its value on the stack, so `f32.add(a, b)` nests like arithmetic. There is no
 * type checking here: `WebAssembly.compile` does it.
 *
 * Source: WebAssembly Core Specification 3.0, chapter 5 (binary format).
 */

export type Code = readonly number[]

export const I32 = 0x7f
export const F32 = 0x7d
export const V128 = 0x7b

function unsignedLeb(value: number): number[] {
  const bytes: number[] = []
  let rest = value >>> 0
  do {
    const low = rest & 0x7f
    rest >>>= 7
    bytes.push(rest === 0 ? low : low | 0x80)
  } while (rest !== 0)
  return bytes
}

function signedLeb(value: number): number[] {
  const bytes: number[] = []
  let rest = value | 0
  for (;;) {
    const low = rest & 0x7f
    rest >>= 7
    const last = (rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)
    bytes.push(last ? low : low | 0x80)
    if (last) return bytes
  }
}

function float32Bytes(value: number): number[] {
  return [...new Uint8Array(new Float32Array([value]).buffer)]
}

const unary = (opcode: Code) => (a: Code) => [...a, ...opcode]
const binary = (opcode: Code) => (a: Code, b: Code) => [...a, ...b, ...opcode]
/** Alignment hint 0 (any): hints change no result. */
const load =
  (opcode: Code) =>
  (address: Code, offset = 0) => [...address, ...opcode, 0, ...unsignedLeb(offset)]
const store =
  (opcode: Code) =>
  (address: Code, value: Code, offset = 0) => [...address, ...value, ...opcode, 0, ...unsignedLeb(offset)]
const simd = (opcode: number) => [0xfd, ...unsignedLeb(opcode)]

export const i32 = {
  const: (value: number): Code => [0x41, ...signedLeb(value)],
  load: load([0x28]),
  store: store([0x36]),
  eqz: unary([0x45]),
  eq: binary([0x46]),
  ne: binary([0x47]),
  ltU: binary([0x49]),
  geU: binary([0x4f]),
  ctz: unary([0x68]),
  add: binary([0x6a]),
  sub: binary([0x6b]),
  mul: binary([0x6c]),
  and: binary([0x71]),
  or: binary([0x72]),
  shl: binary([0x74]),
  shrU: binary([0x76]),
}

export const f32 = {
  const: (value: number): Code => [0x43, ...float32Bytes(value)],
  load: load([0x2a]),
  store: store([0x38]),
  lt: binary([0x5d]),
  gt: binary([0x5e]),
  le: binary([0x5f]),
  ge: binary([0x60]),
  sqrt: unary([0x91]),
  add: binary([0x92]),
  sub: binary([0x93]),
  mul: binary([0x94]),
  min: binary([0x96]),
  demote: unary([0xb6]),
}

export const f64 = {
  load: load([0x2b]),
  store: store([0x39]),
  add: binary([0xa0]),
  mul: binary([0xa2]),
  promote: unary([0xbb]),
}

export const v128 = {
  load: load(simd(0x00)),
  load32Splat: load(simd(0x09)),
  load64Zero: load(simd(0x5d)),
  store: store(simd(0x0b)),
  i32x4: (...lanes: number[]): Code => [
    ...simd(0x0c),
    ...lanes.flatMap((lane) => [lane & 255, (lane >> 8) & 255, (lane >> 16) & 255, (lane >> 24) & 255]),
  ],
  /** Lanes of 32 bits: 0-3 pick from a, 4-7 from b. */
  shuffle32: (a: Code, b: Code, ...lanes: number[]): Code => [
    ...a,
    ...b,
    ...simd(0x0d),
    ...lanes.flatMap((lane) => [4 * lane, 4 * lane + 1, 4 * lane + 2, 4 * lane + 3]),
  ],
  and: binary(simd(0x4e)),
  or: binary(simd(0x50)),
  xor: binary(simd(0x51)),
  /** Bits of a where mask has ones, else of b. */
  bitselect: (a: Code, b: Code, mask: Code): Code => [...a, ...b, ...mask, ...simd(0x52)],
}

export const i32x4 = {
  splat: unary(simd(0x11)),
  bitmask: unary(simd(0xa4)),
  /** Each lane by the same number of bits, an i32. */
  shl: binary(simd(0xab)),
  shrS: binary(simd(0xac)),
  shrU: binary(simd(0xad)),
  add: binary(simd(0xae)),
  sub: binary(simd(0xb1)),
  lane0: unary([...simd(0x1b), 0]),
  /** Signed. */
  ge: binary(simd(0x3f)),
  max: binary(simd(0xb8)),
  /** Of eight pairs of int16, the sums of neighbouring products: four int32. */
  dotI16x8: binary(simd(0xba)),
}

export const i64x2 = {
  /** Of four unsigned int32 the lower two, or the upper two. */
  extendLowU: unary(simd(0xc9)),
  extendHighU: unary(simd(0xca)),
  add: binary(simd(0xce)),
}

export const f32x4 = {
  splat: unary(simd(0x13)),
  lane0: unary([...simd(0x1f), 0]),
  eq: binary(simd(0x41)),
  lt: binary(simd(0x43)),
  le: binary(simd(0x45)),
  ge: binary(simd(0x46)),
  sqrt: unary(simd(0xe3)),
  add: binary(simd(0xe4)),
  sub: binary(simd(0xe5)),
  mul: binary(simd(0xe6)),
  div: binary(simd(0xe7)),
  /** b < a ? b : a and a < b ? b : a: one instruction each, unlike min and max. */
  pmin: binary(simd(0xea)),
  pmax: binary(simd(0xeb)),
  fromI32x4: unary(simd(0xfa)),
  /** a * b + c, rounded once or twice as the machine likes (relaxed SIMD). */
  relaxedMadd: (a: Code, b: Code, c: Code): Code => [...a, ...b, ...c, ...simd(0x105)],
}

export const f64x2 = {
  lane0: unary([...simd(0x21), 0]),
  lane1: unary([...simd(0x21), 1]),
  add: binary(simd(0xf0)),
  mul: binary(simd(0xf2)),
  promoteLow: unary(simd(0x5f)),
}

export const call = (index: number, ...operands: Code[]): Code => [...operands.flat(), 0x10, ...unsignedLeb(index)]

/** condition ? a : b, both computed. */
export const select = (a: Code, b: Code, condition: Code): Code => [...a, ...b, ...condition, 0x1b]

/** `while (condition) { ...body }`; inside the body, `repeat` (depth 0) goes on with the next round. */
export const loopWhile = (condition: Code, ...body: Code[]): Code => [
  ...[0x02, 0x40, 0x03, 0x40],
  ...i32.eqz(condition),
  ...[0x0d, 1],
  ...body.flat(),
  ...[0x0c, 0, 0x0b, 0x0b],
]

export const when = (condition: Code, then: Code[], otherwise: Code[] = []): Code => [
  ...condition,
  ...[0x04, 0x40],
  ...then.flat(),
  ...(otherwise.length === 0 ? [] : [0x05, ...otherwise.flat()]),
  0x0b,
]

/** A block that `leave(depth)` jumps out of; each enclosing block, loop or `when` counts one. */
export const block = (...body: Code[]): Code => [0x02, 0x40, ...body.flat(), 0x0b]
export const leave = (depth: number): Code => [0x0c, ...unsignedLeb(depth)]
export const leaveIf = (condition: Code, depth: number): Code => [...condition, 0x0d, ...unsignedLeb(depth)]

export interface Local {
  get: Code
  set(value: Code): Code
}

/** A function under construction: parameters first, then as many locals as asked for. */
export interface FunctionBuilder {
  parameters: Local[]
  local(type: number): Local
  /** Its code entry, once the body is known. */
  close(body: Code): number[]
}

export function functionBuilder(parameterCount: number): FunctionBuilder {
  const types: number[] = []
  const at = (index: number): Local => ({
    get: [0x20, ...unsignedLeb(index)],
    set: (value) => [...value, 0x21, ...unsignedLeb(index)],
  })
  return {
    parameters: Array.from({ length: parameterCount }, (_, index) => at(index)),
    local: (type) => at(parameterCount + types.push(type) - 1),
    close: (body) => {
      const locals = [...unsignedLeb(types.length), ...types.flatMap((type) => [1, type])]
      const code = [...locals, ...body, 0x0b]
      return [...unsignedLeb(code.length), ...code]
    },
  }
}

export interface ModuleParts {
  /** 64 KiB pages of the imported memory `core.memory`. */
  pages: number
  /** Whether that memory is shared between threads. */
  shared: boolean
  /** Imported functions `core.<name>`: [i32 parameters] -> (). Their indices come first. */
  imports: { name: string; parameters: number }[]
  /** Exported functions: [i32 parameters] -> [i32]. */
  functions: { name: string; parameters: number; code: number[] }[]
}

/** The bytes of a module with one memory. */
export function assemble({ pages, shared, imports, functions }: ModuleParts): Uint8Array<ArrayBuffer> {
  const text = (name: string) => [name.length, ...new TextEncoder().encode(name)]
  const vector = (items: number[][]) => [...unsignedLeb(items.length), ...items.flat()]
  const section = (id: number, content: number[]) => [id, ...unsignedLeb(content.length), ...content]
  const signature = (parameters: number, results: number) => [
    0x60,
    ...vector(Array(parameters).fill([I32])),
    ...vector(Array(results).fill([I32])),
  ]
  const limits = [shared ? 3 : 1, ...unsignedLeb(pages), ...unsignedLeb(pages)]
  const core = text('core')
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(
      1,
      vector([...imports.map((i) => signature(i.parameters, 0)), ...functions.map((f) => signature(f.parameters, 1))]),
    ),
    ...section(
      2,
      vector([
        [...core, ...text('memory'), 0x02, ...limits],
        ...imports.map((item, index) => [...core, ...text(item.name), 0x00, ...unsignedLeb(index)]),
      ]),
    ),
    ...section(3, vector(functions.map((_, index) => unsignedLeb(imports.length + index)))),
    ...section(7, vector(functions.map((f, index) => [...text(f.name), 0x00, ...unsignedLeb(imports.length + index)]))),
    ...section(10, vector(functions.map((f) => f.code))),
  ])
}
