/** What a file of losses is by its first bytes, and the step in its name. Pickles are refused: unpickling runs code. */

import { WinnowError } from '../errors.ts'

/** Bytes of a file's start that `lossFormat` wants to see. */
export const FORMAT_BYTES = 512

/**
 * The step in a name: its last whole number. Undefined where there is none, or where it is the end of a decimal number
 * (`epoch-0.5`), by which files would fall into a wrong order. `checkpoint-500/losses.npy` is 500, `step_000120` is 120.
 */
export function stepOf(name: string): number | undefined {
  const last = /(?<![0-9])([0-9]+)(?=[^0-9]*$)/.exec(name)
  if (last === null || /[0-9]\.$/.test(name.slice(0, last.index))) return undefined
  const step = Number(last[1])
  return Number.isSafeInteger(step) ? step : undefined
}

/** A name without the extensions of a losses file, as its step is looked for. */
export function withoutExtension(name: string): string {
  return name.replace(/\.(gz|zst)$/i, '').replace(/\.[a-z]+[0-9]?[a-z]*$/i, '')
}

const startsWith = (head: Uint8Array, bytes: readonly number[]) => bytes.every((byte, index) => head[index] === byte)
const ascii = (head: Uint8Array) => Array.from(head, (byte) => String.fromCharCode(byte)).join('')

/** How users save, in their own Python, what winnow does not unpickle: a tensor or a list of them. */
function conversion(file: string): string {
  const from = /^[\w./-]+$/.test(file) ? file : 'losses.pt'
  const to = `${withoutExtension(from)}.npy`
  return `python -c "import numpy, torch; numpy.save('${to}', torch.tensor(torch.load('${from}', weights_only=True)).float().numpy())"`
}

/**
 * `npy` for NumPy's format, `table` for what may be JSON, CSV or Parquet. Looks at bytes first, then at the name.
 *
 * @throws {WinnowError} `pickle` (torch .pt, .pkl), `unsupported-losses` (.npz, HDF5, safetensors, Arrow) with how to convert them.
 */
export function lossFormat(head: Uint8Array, file: string): 'npy' | 'table' {
  const pickle = (what: string) =>
    new WinnowError('input', {
      code: 'pickle',
      message: 'the file is a Python pickle, and reading one runs the code in it, so it is not read',
      file,
      found: what,
      expected: '.npy, Parquet, CSV or JSON Lines',
      hint: `Convert it in a Python of your own: ${conversion(file)}`,
    })
  const unsupported = (what: string, hint: string) =>
    new WinnowError('input', {
      code: 'unsupported-losses',
      message: 'the file is of a format that losses are not read from',
      file,
      found: what,
      expected: '.npy, Parquet, CSV or JSON Lines',
      hint,
    })
  if (startsWith(head, [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59])) return 'npy'
  if (startsWith(head, [0x50, 0x4b, 0x03, 0x04])) {
    // The name of the first entry lies in the clear after the 30 bytes of its header.
    const entry = ascii(head.subarray(30))
    if (/^[^\0]*?data\.pkl/.test(entry)) throw pickle('a zip archive of torch.save')
    if (/^[^\0]*?\.npy/.test(entry))
      throw unsupported(
        'an .npz archive',
        'Save its array alone: numpy.save("losses.npy", numpy.load("losses.npz")["losses"]).',
      )
    throw unsupported('a zip archive', 'Take the losses out of it.')
  }
  if (head[0] === 0x80 && head[1] >= 2 && head[1] <= 5) throw pickle('a pickle')
  if (startsWith(head, [0x89, 0x48, 0x44, 0x46]))
    throw unsupported('HDF5', 'Save .npy: numpy.save("losses.npy", h5py.File("losses.h5")["losses"][:]).')
  if (ascii(head.subarray(0, 6)) === 'ARROW1' || startsWith(head, [0xff, 0xff, 0xff, 0xff]))
    throw unsupported('Arrow', 'Save Parquet: Dataset.to_parquet("losses.parquet") or DataFrame.to_parquet.')
  if (head[8] === 0x7b && startsWith(head.subarray(5), [0, 0, 0]))
    throw unsupported('safetensors', 'Save .npy: numpy.save("losses.npy", tensor.float().numpy()).')
  // Old protocols of pickle have no mark of their own.
  if (/\.(pt|pth|pkl|pickle|ckpt|bin|joblib)$/i.test(file)) throw pickle('a name that pickles have')
  if (/\.npy$/i.test(file)) return 'npy'
  return 'table'
}
