import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { WinnowError } from '../../src/errors.ts'
import { readLossArray } from '../../src/signals/loss-array.ts'
import { checkColumns, type LossColumn, lossFacts, numberOf } from '../../src/signals/loss-column.ts'
import { lossFormat, stepOf, withoutExtension } from '../../src/signals/loss-format.ts'
import { type LossTable, readLossTable } from '../../src/signals/loss-table.ts'
import { writeNpy } from '../../src/signals/npy.ts'

/** A table of records in blocks of two lines, with line numbers from 2 as below a header. */
function table(records: Record<string, unknown>[], columns = Object.keys(records[0] ?? {})): LossTable {
  return {
    file: 'losses.csv',
    columns,
    async *read(names) {
      for (let start = 0; start < records.length; start += 2) {
        const block = records.slice(start, start + 2)
        yield { lines: block.map((_, i) => start + i + 2), cells: names.map((name) => block.map((line) => line[name])) }
      }
    },
  }
}

const read = async (records: Record<string, unknown>[], rows: number, step?: number) =>
  checkColumns(await readLossTable(table(records), { rows, step }), 'losses.csv')
const byStep = (columns: readonly LossColumn[]) => columns.map(({ step, losses }) => [step, ...losses])

async function faultOf(promise: Promise<unknown>) {
  const error = await promise.then(
    () => undefined,
    (reason) => reason,
  )
  expect(error).toBeInstanceOf(WinnowError)
  expect((error as WinnowError).exitCode).toBe(2)
  return (error as WinnowError).fault
}

describe('the step in a name', () => {
  test.each([
    ['checkpoint-500', 500],
    ['step_000120', 120],
    ['step 120', 120],
    ['losses-epoch2-step40', 40],
    ['checkpoint-500/losses', 500],
    ['500', 500],
    ['losses', undefined],
    ['epoch-0.5', undefined],
    ['', undefined],
  ])('%s: %s', (name, step) => {
    expect(stepOf(name)).toBe(step)
  })

  test.each([
    ['checkpoint-500.npy', 'checkpoint-500'],
    ['step_7.jsonl.gz', 'step_7'],
    ['3.parquet', '3'],
    ['checkpoint-500/losses.npy', 'checkpoint-500/losses'],
  ])('stands before the extension of %s', (name, bare) => {
    expect(withoutExtension(name)).toBe(bare)
  })
})

describe('a cell', () => {
  test.each([
    [0.5, 0.5],
    ['0.5', 0.5],
    [' 1e-3 ', 1e-3],
    ['.5', 0.5],
    ['inf', Number.POSITIVE_INFINITY],
    ['-Infinity', Number.NEGATIVE_INFINITY],
    [null, Number.NaN],
    ['', Number.NaN],
    ['NaN', Number.NaN],
    ['null', Number.NaN],
    ['0x10', undefined],
    ['1,5', undefined],
    ['two', undefined],
    [true, undefined],
    [undefined, undefined],
    [[1], undefined],
    [{}, undefined],
  ])('%o is %s', (cell, value) => {
    expect(numberOf(cell)).toEqual(value)
  })
})

describe('a wide table', () => {
  it('is read by ascending step, whatever the order of its columns', async () => {
    const columns = await read(
      [
        { step_1000: 1, step_500: 2, 'step-20': 3 },
        { step_1000: '4', step_500: '', 'step-20': null },
      ],
      2,
    )
    expect(byStep(columns)).toEqual([
      [20, 3, Number.NaN],
      [500, 2, Number.NaN],
      [1000, 1, 4],
    ])
  })

  it.each(['row', 'Index', 'id', ''])('may say in a column named %o which row a line is of', async (index) => {
    const columns = await read(
      [
        { [index]: 2, s1: 0.2 },
        { [index]: '0', s1: 0.5 },
        { [index]: 1, s1: 0.1 },
      ],
      3,
    )
    expect(byStep(columns)).toEqual([[1, ...Float32Array.of(0.5, 0.1, 0.2)]])
  })

  it.each([
    [
      'a row twice',
      [
        { row: 0, s1: 1 },
        { row: 0, s1: 1 },
      ],
      { code: 'repeated-row', line: 3, path: 'row 0, column s1' },
    ],
    [
      'a row past the end',
      [
        { row: 0, s1: 1 },
        { row: 2, s1: 1 },
      ],
      { code: 'bad-row', line: 3, found: '2', expected: '0 to 1', hint: 'Rows count from 0.' },
    ],
    ['a row before the start', [{ row: -1, s1: 1 }], { code: 'bad-row', found: '-1' }],
    ['half a row', [{ row: 0.5, s1: 1 }], { code: 'bad-row', found: '0.5' }],
    ['a row by name', [{ id: 'gsm8k-1', s1: 1 }], { code: 'bad-row', path: 'column id', found: '"gsm8k-1"' }],
    [
      'a row missing',
      [{ row: 1, s1: 1 }],
      { code: 'missing-rows', message: 'a row of the pool is missing', found: 'no row 0' },
    ],
    ['too few lines', [{ s1: 1 }], { code: 'other-pool', found: '1 line of losses', expected: '2 rows' }],
    ['too many lines', [{ s1: 1 }, { s1: 1 }, { s1: 1 }], { code: 'other-pool', found: '3 lines of losses' }],
    ['a column without a step', [{ s1: 1, tokens: 3 }], { code: 'unknown-column', path: 'column tokens' }],
    [
      'two columns of a step',
      [{ s1: 1, epoch_1: 3 }],
      { code: 'repeated-step', found: 'column s1 and column epoch_1' },
    ],
    ['a number as a name', [{ '2.31': 1 }], { code: 'no-header', line: 1, found: '2.31' }],
    ['no columns', [{ row: 1 }], { code: 'no-checkpoints' }],
    ['words', [{ s1: 'two' }], { code: 'not-a-loss', line: 2, path: 'row 0, column s1', found: '"two"' }],
    ['truth values', [{ s1: true }], { code: 'not-a-loss', found: 'true' }],
    [
      'a cell missing',
      [{ s1: 1 }, {}],
      { code: 'not-a-loss', line: 3, message: 'the row lacks this column', found: 'nothing' },
    ],
    ['an infinite loss', [{ s1: 1 }, { s1: 'inf' }], { code: 'infinite-loss', line: 3, found: 'Infinity' }],
    ['a loss beyond float32', [{ s1: 1e39 }], { code: 'infinite-loss', found: '1e+39' }],
    ['log-probabilities', [{ s1: -1 }, { s1: -2 }], { code: 'negative-losses', found: '2 of 2 below 0' }],
    [
      'a checkpoint without losses',
      [
        { s1: 1, s2: null },
        { s1: 1, s2: '' },
      ],
      { code: 'no-losses', path: 'column s2' },
    ],
  ])('with %s is refused', async (_, records, fault) => {
    expect(await faultOf(read(records as Record<string, unknown>[], 2))).toMatchObject({ file: 'losses.csv', ...fault })
  })

  it('of more columns than checkpoints are recorded is refused', async () => {
    const wide = Object.fromEntries(Array.from({ length: 1001 }, (_, c) => [`s${c}`, 1]))
    expect(await faultOf(read([wide], 1))).toMatchObject({ code: 'too-many-checkpoints' })
  })
})

describe('a table of lists', () => {
  it('has a checkpoint for each place, and null for a row without losses', async () => {
    const columns = await read([{ losses: null }, { losses: [1, null] }, { losses: [2, 3] }], 3)
    expect(byStep(columns)).toEqual([
      [1, Number.NaN, 1, 2],
      [2, Number.NaN, Number.NaN, 3],
    ])
  })

  it.each([
    [
      'of other lengths',
      [{ losses: [1, 2] }, { losses: [1] }],
      { code: 'uneven-losses', line: 3, found: 'a list of 1', expected: 'a list of 2' },
    ],
    ['of nothing', [{ losses: [] }, { losses: [] }], { code: 'no-checkpoints' }],
    ['of words', [{ losses: ['a'] }], { code: 'not-a-loss', path: 'row 0, column losses[0]' }],
    ['that are single numbers', [{ nll: 0.5 }, { nll: 0.5 }], { code: 'no-step', line: 2, found: '0.5' }],
  ])('%s is refused', async (_, records, fault) => {
    expect(await faultOf(read(records, 2))).toMatchObject({ file: 'losses.csv', ...fault })
  })
})

describe('a long table', () => {
  const lines = [
    { row: 0, step: 10, loss: 3 },
    { row: 1, step: 10, loss: 2.5 },
    { row: 0, step: 2, loss: 4 },
    { row: 1, step: 2, loss: null },
  ]

  it('gives the same matrix in whatever order its lines come', () =>
    fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(lines, { minLength: lines.length }), async (shuffled) => {
        expect(byStep(await read(shuffled, 2))).toEqual([
          [2, 4, Number.NaN],
          [10, 3, 2.5],
        ])
      }),
      { numRuns: 30 },
    ))

  it('may have columns of other things beside', async () => {
    expect(
      byStep(
        await read(
          lines.map((line) => ({ epoch: 0.5, lr: 1e-4, ...line })),
          2,
        ),
      ),
    ).toHaveLength(2)
  })

  it.each([
    ['without rows', lines.map(({ step, loss }) => ({ step, loss })), { code: 'no-row-column', found: 'step, loss' }],
    ['with a hole', lines.slice(1), { code: 'missing-rows', path: 'column loss at step 10', found: 'no row 0' }],
    [
      'with a line twice',
      [...lines, lines[0]],
      { code: 'repeated-row', line: 6, path: 'row 0, column loss at step 10' },
    ],
    ['with half steps', [{ row: 0, epoch: 0.5, loss: 1 }], { code: 'bad-step', path: 'column epoch', found: '0.5' }],
    ['without a step', [{ row: 0, step: null, loss: 1 }], { code: 'bad-step', found: 'null' }],
  ])('%s is refused', async (_, records, fault) => {
    expect(await faultOf(read(records, 2))).toMatchObject(fault)
  })

  it('whose steps are rows is refused before memory runs out', async () => {
    const turned = Array.from({ length: 1100 }, (_, step) => ({ row: 0, step, loss: 1 }))
    expect(await faultOf(read(turned, 1))).toMatchObject({
      code: 'too-many-checkpoints',
      hint: expect.stringContaining('wrong way round'),
    })
  })
})

it('a matrix is the same in every form, in whatever order', () =>
  fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 6 }).chain((width) => {
        const cell = fc.option(fc.float({ min: 0, max: 20, noNaN: true }), { nil: null, freq: 5 })
        // The first row is whole, so that no checkpoint is empty.
        const whole = fc.array(fc.float({ min: 0, max: 20, noNaN: true }), { minLength: width, maxLength: width })
        const others = fc.array(fc.array(cell, { minLength: width, maxLength: width }), { maxLength: 7 })
        return fc.record({
          matrix: fc.tuple(whole, others).map(([first, rest]) => [first, ...rest]),
          steps: fc
            .uniqueArray(fc.nat(99), { minLength: width, maxLength: width })
            .map((all) => all.sort((a, b) => a - b)),
          seed: fc.infiniteStream(fc.nat()),
        })
      }),
      async ({ matrix, steps, seed }) => {
        const rows = matrix.length
        const shuffled = <T>(list: T[]) =>
          list
            .map((value) => [seed.next().value as number, value] as const)
            .sort(([a], [b]) => a - b)
            .map(([, value]) => value)
        const values = steps.map((_, c) => matrix.map((row) => row[c] ?? Number.NaN))
        const expected = steps.map((step, c) => [step, ...values[c]])
        const order = shuffled([...steps.keys()])
        const wide = matrix.map((row, index) => ({
          index,
          ...Object.fromEntries(order.map((c) => [`step_${steps[c]}`, row[c]])),
        }))
        const long = matrix.flatMap((row, index) => row.map((loss, c) => ({ row: index, step: steps[c], loss })))
        expect(byStep(await read(shuffled(wide), rows))).toEqual(expected)
        expect(byStep(await read(shuffled(long), rows))).toEqual(expected)
        const lists = matrix.map((losses, id) => ({ id, losses }))
        expect(byStep(await read(shuffled(lists), rows)).map((column) => column.slice(1))).toEqual(values)
        const bytes = writeNpy({
          shape: [rows, steps.length],
          data: Float32Array.from(matrix.flat(), (x) => x ?? Number.NaN),
        })
        const slice = async (at: number, length: number) => bytes.subarray(at, at + length)
        const array = await readLossArray({ file: 'losses.npy', bytes: bytes.length, read: slice }, { rows })
        expect(byStep(array).map((column) => column.slice(1))).toEqual(values)
      },
    ),
    { numRuns: 50 },
  ))

describe('a table of one checkpoint', () => {
  it('takes the column of losses among others, or the only one', async () => {
    expect(
      byStep(
        await read(
          [
            { tokens: 9, nll: 1 },
            { tokens: 9, nll: 2 },
          ],
          2,
          500,
        ),
      ),
    ).toEqual([[500, 1, 2]])
    expect(
      byStep(
        await read(
          [
            { row: 1, x: 1 },
            { row: 0, x: 2 },
          ],
          2,
          500,
        ),
      ),
    ).toEqual([[500, 2, 1]])
  })

  it.each([
    ['several columns and none of losses', [{ a: 1, b: 1 }], { code: 'unknown-column', found: 'a, b' }],
    ['no header', [{ '2.3': 1 }], { code: 'no-header' }],
    ['too few lines', [{ loss: 1 }], { code: 'other-pool' }],
  ])('with %s is refused', async (_, records, fault) => {
    expect(await faultOf(read(records as Record<string, unknown>[], 2, 500))).toMatchObject(fault)
  })
})

describe('an array', () => {
  const array = (
    shape: number[],
    data: Float32Array | Float64Array = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1),
  ) => {
    const bytes = writeNpy({ shape, data })
    return {
      file: 'losses.npy',
      bytes: bytes.length,
      read: async (at: number, length: number) => bytes.subarray(at, at + length),
    }
  }
  const readArray = async (from: ReturnType<typeof array>, rows: number, step?: number) =>
    checkColumns(await readLossArray(from, { rows, step }), 'losses.npy')

  it('has a row for each record and a column for each checkpoint', async () => {
    const columns = await readArray(array([2, 3], Float64Array.of(1, 2, 3, 4, Number.NaN, 6)), 2)
    expect(byStep(columns)).toEqual([
      [1, 1, 4],
      [2, 2, Number.NaN],
      [3, 3, 6],
    ])
  })

  it('is read in blocks, of either order', async () => {
    const [rows, columns] = [70_001, 5]
    const data = Float32Array.from({ length: rows * columns }, (_, i) => i % 1009)
    const whole = array([rows, columns], data)
    const turned = writeNpy({
      shape: [rows, columns],
      data: data.map((_, i) => data[(i % rows) * columns + Math.floor(i / rows)]),
    })
    turned.set(
      new TextEncoder().encode("'fortran_order': True, "),
      new TextDecoder('latin1').decode(turned).indexOf("'fortran_order'"),
    )
    const fortran = { ...whole, read: async (at: number, length: number) => turned.subarray(at, at + length) }
    const [one, other] = [await readArray(whole, rows), await readArray(fortran, rows)]
    expect(one.map(({ losses }) => losses)).toEqual(other.map(({ losses }) => losses))
    expect(one[3].losses[70_000]).toBe(data[70_000 * columns + 3])
  })

  it.each([
    ['of another pool', [3, 2], undefined, { code: 'other-pool', found: 'shape (3, 2)', expected: '2 rows' }],
    [
      'the wrong way round',
      [3, 2],
      undefined,
      { code: 'other-pool', hint: 'The array is the wrong way round: save array.T.' },
    ],
    [
      'of one axis and no step',
      [2],
      undefined,
      { code: 'no-step', found: 'shape (2,)', hint: expect.stringContaining('directory') },
    ],
    ['of every token', [2, 3, 4], undefined, { code: 'no-step', hint: expect.stringContaining('mean over') }],
    ['of many checkpoints where one is meant', [2, 3], 500, { code: 'no-step' }],
    ['without checkpoints', [2, 0], undefined, { code: 'no-checkpoints' }],
    ['of too many', [2, 1001], undefined, { code: 'too-many-checkpoints' }],
  ])('%s is refused', async (_, shape, step, fault) => {
    expect(await faultOf(readArray(array(shape), 2, step))).toMatchObject({ file: 'losses.npy', ...fault })
  })

  it('with an infinite loss names its row and column', async () => {
    const from = array([2, 2], Float32Array.of(1, 2, 3, Number.NEGATIVE_INFINITY))
    expect(await faultOf(readArray(from, 2))).toMatchObject({
      code: 'infinite-loss',
      path: 'row 1, column 1',
      found: '-Infinity',
    })
  })

  it('that is cut off is refused', async () => {
    const whole = array([2, 2])
    expect(await faultOf(readArray({ ...whole, bytes: whole.bytes - 3 }, 2))).toMatchObject({ code: 'bad-npy' })
  })
})

describe('the first bytes of a file', () => {
  const zip = (name: string) => [0x50, 0x4b, 3, 4, ...new Array(26).fill(0), ...Buffer.from(name)]
  const head = (bytes: number[] | string) => (typeof bytes === 'string' ? Buffer.from(bytes) : Uint8Array.from(bytes))

  it.each([
    ['losses.pt', zip('archive/data.pkl'), 'torch.save'],
    ['losses.pt', [0x80, 2, 0x8a, 10], 'a pickle'],
    ['losses.csv', [0x80, 4, 0x95, 0], 'a pickle'],
    ['losses.pkl', '(lp0\nF2.5\na.', 'a name that pickles have'],
  ])('%s of a pickle are refused with how to convert them', (name, bytes, found) => {
    const refuse = () => lossFormat(head(bytes), name)
    expect(refuse).toThrow('runs the code in it')
    expect(refuse).toThrow('weights_only=True')
    expect(refuse).toThrow(found)
  })

  it.each([
    ['a.npz', zip('losses.npy'), '.npz'],
    ['a.zip', zip('readme.txt'), 'a zip archive'],
    ['a.h5', [0x89, 0x48, 0x44, 0x46, 13, 10, 26, 10], 'HDF5'],
    ['a.arrow', 'ARROW1\0\0', 'Arrow'],
    ['a.safetensors', [60, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x22], 'safetensors'],
  ])('of %s are refused with another format to save', (name, bytes, found) => {
    expect(() => lossFormat(head(bytes), name)).toThrow(found)
  })

  it.each([
    ['x', [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0], 'npy'],
    ['empty.npy', '', 'npy'],
    ['a.jsonl', '{"loss": 1}', 'table'],
    ['a.parquet', 'PAR1', 'table'],
  ])('of %s go to a reader', (name, bytes, format) => {
    expect(lossFormat(head(bytes as number[] | string), name)).toBe(format)
  })
})

it('counts rows without a loss at some checkpoint, and what is odd', async () => {
  const columns = await read(
    [
      { s1: 1, s2: null },
      { s1: 3, s2: -0.5 },
      { s1: 2, s2: 4.5 },
    ],
    3,
  )
  expect(lossFacts(columns)).toEqual({ incomplete: 1, negative: 1, meanFirst: 2, meanLast: 2 })
})
