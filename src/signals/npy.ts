/**
 * NumPy's .npy files (format 1.0 to 3.0, numpy.lib.format): how signals are kept in a run and imported from elsewhere.
 * Bytes in, bytes out. Object arrays, which are pickles, are refused; so are structured, complex and string types.
 */

import { WinnowError } from '../errors.ts'
import { type Signal, type SignalData, type SignalType, signal } from './signal.ts'

export interface NpyArray {
  shape: number[]
  /** Row-major. */
  data: SignalData
}

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]
const ALIGNMENT = 64
const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

const DESCRIPTIONS: Record<SignalType, string> = {
  Float32Array: '<f4',
  Float64Array: '<f8',
  Int32Array: '<i4',
  Uint32Array: '<u4',
  Uint8Array: '|u1',
}

/** How one element is read: its bytes, the array it goes into, and its value. */
interface Element {
  size: number
  array: new (length: number) => SignalData
  get(view: DataView, at: number, littleEndian: boolean): number
}

const ELEMENTS: Record<string, Element> = {
  f2: { size: 2, array: Float32Array, get: (view, at, little) => float16(view.getUint16(at, little)) },
  f4: { size: 4, array: Float32Array, get: (view, at, little) => view.getFloat32(at, little) },
  f8: { size: 8, array: Float64Array, get: (view, at, little) => view.getFloat64(at, little) },
  i1: { size: 1, array: Int32Array, get: (view, at) => view.getInt8(at) },
  i2: { size: 2, array: Int32Array, get: (view, at, little) => view.getInt16(at, little) },
  i4: { size: 4, array: Int32Array, get: (view, at, little) => view.getInt32(at, little) },
  i8: { size: 8, array: Float64Array, get: (view, at, little) => exact(view.getBigInt64(at, little)) },
  b1: { size: 1, array: Uint8Array, get: (view, at) => view.getUint8(at) },
  u1: { size: 1, array: Uint8Array, get: (view, at) => view.getUint8(at) },
  u2: { size: 2, array: Uint32Array, get: (view, at, little) => view.getUint16(at, little) },
  u4: { size: 4, array: Uint32Array, get: (view, at, little) => view.getUint32(at, little) },
  u8: { size: 8, array: Float64Array, get: (view, at, little) => exact(view.getBigUint64(at, little)) },
}

/** IEEE 754 binary16 (DataView.getFloat16 is younger than Node 22). */
function float16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return sign * (1024 + fraction) * 2 ** (exponent - 25)
}

function exact(value: bigint): number {
  const number = Number(value)
  if (!Number.isSafeInteger(number)) throw new RangeError(`${value} does not fit in 53 bits`)
  return number
}

/**
 * The bytes before the data of a .npy file: version 1.0 (2.0 where the header needs it), padded so that the data starts
 * at a multiple of 64 bytes. Written before the data of an array that is too large to copy.
 */
export function npyHeader(type: SignalType, shape: readonly number[]): Uint8Array {
  // Python writes a one-tuple with a comma.
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`
  const text = `{'descr': '${DESCRIPTIONS[type]}', 'fortran_order': False, 'shape': ${tuple}, }`
  const prefix = 10
  const padded = Math.ceil((prefix + text.length + 1) / ALIGNMENT) * ALIGNMENT
  const bytes = new Uint8Array(padded).fill(0x20)
  bytes.set(MAGIC)
  bytes.set([1, 0, (padded - prefix) & 255, (padded - prefix) >> 8], MAGIC.length)
  bytes.set(new TextEncoder().encode(text), prefix)
  bytes[padded - 1] = 0x0a
  return bytes
}

/** The data of a signal as the little-endian bytes of a .npy file; a view where the machine is little-endian. */
export function npyBytes(data: SignalData): Uint8Array {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  if (isLittleEndian) return bytes
  const swapped = bytes.slice()
  const size = data.BYTES_PER_ELEMENT
  for (let at = 0; at < swapped.length; at += size) swapped.subarray(at, at + size).reverse()
  return swapped
}

/** A whole .npy file. */
export function writeNpy({ shape, data }: NpyArray): Uint8Array {
  if (shape.reduce((product, size) => product * size, 1) !== data.length)
    throw new RangeError(`shape [${shape}] does not hold ${data.length} numbers`)
  const header = npyHeader(data.constructor.name as SignalType, shape)
  const file = new Uint8Array(header.length + data.byteLength)
  file.set(header)
  file.set(npyBytes(data), header.length)
  return file
}

interface Header {
  element: Element
  descr: string
  isLittle: boolean
  fortranOrder: boolean
  shape: number[]
  dataAt: number
}

type Fail = (message: string, more?: object) => WinnowError

const failing =
  (file: string | undefined): Fail =>
  (message, more = {}) =>
    new WinnowError('input', { code: 'bad-npy', message, file, ...more })

/** Numbers of the array, whose data take `found` bytes. */
function checkLength(shape: readonly number[], element: Element, found: number, fail: Fail): number {
  const length = shape.reduce((product, size) => product * size, 1)
  const expected = length * element.size
  if (found === expected) return length
  throw fail(found < expected ? 'the file is cut off' : 'the file goes on after its data', {
    found: `${found} bytes of data`,
    expected: `${expected} bytes for shape (${shape.join(', ')})`,
  })
}

function readHeader(bytes: Uint8Array, fail: Fail): Header {
  if (bytes.length < 10 || MAGIC.some((byte, index) => bytes[index] !== byte))
    throw fail('the file is no .npy file', {
      hint: 'Write it with numpy.save(file, array, allow_pickle=False).',
    })
  const version = bytes[6]
  if (version < 1 || version > 3) throw fail('the .npy version is not known', { found: `${version}.${bytes[7]}` })
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const prefix = version === 1 ? 10 : 12
  const length = version === 1 ? view.getUint16(8, true) : bytes.length < 12 ? 0 : view.getUint32(8, true)
  const dataAt = prefix + length
  if (dataAt > bytes.length) throw fail('the file ends inside its header')
  const text = new TextDecoder().decode(bytes.subarray(prefix, dataAt)).trim()
  const pickled = /'descr'\s*:\s*'\|?O\d*'/.test(text)
  if (pickled)
    throw fail('the array holds Python objects', {
      hint: 'They would have to be unpickled, which winnow does not do. Save numbers: array.astype("float32").',
    })
  const descr = /'descr'\s*:\s*'([<>|=]?)([a-zA-Z]\d+)'/.exec(text)
  const order = /'fortran_order'\s*:\s*(True|False)/.exec(text)
  const shape = /'shape'\s*:\s*\(((?:\s*\d+\s*,)*\s*\d*\s*)\)/.exec(text)
  if (!/^\{.*\}$/s.test(text) || order === null || shape === null)
    throw fail('the header is damaged', { found: text.slice(0, 100) })
  if (descr === null || ELEMENTS[descr[2]] === undefined)
    throw fail('the array has a type that is not read', {
      found: /'descr'\s*:\s*('[^']*'|\[)/.exec(text)?.[1] ?? 'none',
      expected: 'f2, f4, f8, i1 to i8, u1 to u8 or b1',
      hint: 'Convert it: array.astype("float32").',
    })
  return {
    element: ELEMENTS[descr[2]],
    descr: descr[2],
    isLittle: descr[1] !== '>',
    fortranOrder: order[1] === 'True',
    shape: shape[1]
      .split(',')
      .filter((size) => size.trim() !== '')
      .map(Number),
    dataAt,
  }
}

/**
 * Read a .npy file. f4, f8, i4, u4 and u1 come as they are (a view of `bytes` where its alignment allows); f2 as f4;
 * i1, i2 as i4; u2 as u4; b1 as u1; i8, u8 as f8, exactly. Big-endian and column-major data is turned round.
 *
 * @throws {WinnowError} `bad-npy` with what was found: another format, Python objects, a cut or overlong file, integers
 * of more than 53 bits.
 */
export function readNpy(bytes: Uint8Array, file?: string): NpyArray {
  const fail = failing(file)
  const { element, descr, isLittle, fortranOrder, shape, dataAt } = readHeader(bytes, fail)
  const length = checkLength(shape, element, bytes.length - dataAt, fail)
  const data = readElements(bytes, dataAt, length, element, descr, isLittle, fail)
  if (!fortranOrder || shape.length < 2) return { shape, data }
  if (shape.length > 2)
    throw fail('the array is in column-major order', { hint: 'Save numpy.ascontiguousarray(array).' })
  const [rows, columns] = shape
  const rowMajor = data.slice()
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) rowMajor[row * columns + column] = data[column * rows + row]
  return { shape, data: rowMajor }
}

function readElements(
  bytes: Uint8Array,
  dataAt: number,
  length: number,
  element: Element,
  descr: string,
  isLittle: boolean,
  fail: Fail,
): SignalData {
  const isNative = isLittle === isLittleEndian || element.size === 1
  const direct = { f4: Float32Array, f8: Float64Array, i4: Int32Array, u4: Uint32Array, u1: Uint8Array }[descr]
  if (direct !== undefined && isNative) {
    const aligned = (bytes.byteOffset + dataAt) % element.size === 0 ? bytes.subarray(dataAt) : bytes.slice(dataAt)
    return new direct(aligned.buffer as ArrayBuffer, aligned.byteOffset, length)
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset + dataAt)
  const data = new element.array(length)
  try {
    for (let index = 0; index < length; index++) data[index] = element.get(view, index * element.size, isLittle)
  } catch (error) {
    if (error instanceof RangeError) throw fail('the array holds an integer that is not read', { found: error.message })
    throw error
  }
  return data
}

/** Bytes at the start of a .npy file that hold the header of any array of numbers. */
export const NPY_HEADER_BYTES = 1 << 16

/** Where the numbers of a .npy file lie, for readers that take a block of them at a time. */
export interface NpyLayout {
  shape: number[]
  /** Column-major: the first axis varies fastest. */
  fortranOrder: boolean
  /** Bytes before the numbers, and of each. */
  dataAt: number
  size: number
  /** Consecutive numbers from their bytes. */
  decode(bytes: Uint8Array): SignalData
}

/**
 * The layout of a .npy file of `length` bytes, from its first NPY_HEADER_BYTES (or all of them).
 *
 * @throws {WinnowError} `bad-npy`, as `readNpy`.
 */
export function npyLayout(head: Uint8Array, length: number, file?: string): NpyLayout {
  const fail = failing(file)
  const { element, descr, isLittle, fortranOrder, shape, dataAt } = readHeader(head, fail)
  checkLength(shape, element, length - dataAt, fail)
  const decode = (bytes: Uint8Array) =>
    readElements(bytes, 0, bytes.length / element.size, element, descr, isLittle, fail)
  return { shape, fortranOrder, dataAt, size: element.size, decode }
}

/**
 * A signal from a .npy file: the first axis is the rows of the pool, the others its columns.
 *
 * @throws {WinnowError} `bad-npy`, or `signal-shape` where the rows are not the pool's.
 */
export function signalFromNpy(name: string, bytes: Uint8Array, pool: { rows: number; file?: string }): Signal {
  const { shape, data } = readNpy(bytes, pool.file)
  if (shape.length === 0 || shape[0] !== pool.rows)
    throw new WinnowError('input', {
      code: 'signal-shape',
      message: `signal ${name} is of another pool`,
      file: pool.file,
      found: `shape (${shape.join(', ')})`,
      expected: `${pool.rows} rows`,
      hint: 'A signal has one row for each record of the pool, in the same order.',
    })
  const columns = shape.slice(1).reduce((product, size) => product * size, 1)
  const provenance: Signal['provenance'] = pool.file === undefined ? {} : { imported: pool.file }
  return signal(name, data, { rows: pool.rows, columns, provenance })
}

/** A signal as a .npy file of shape (N,) or (N, columns). */
export function signalToNpy({ rows, columns, data }: Signal): Uint8Array {
  return writeNpy({ shape: columns === 1 ? [rows] : [rows, columns], data })
}
