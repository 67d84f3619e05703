import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createTokenStore, openTokenStore } from '../../src/tokenizer/store.ts'
import { TRAINED_BIT } from '../../src/tokenizer/tokenizer.ts'

const tokenizerHash = 'ab'.repeat(32)
let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'winnow-store-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

function written(rows: readonly Uint32Array[], name = 'tokens.bin'): string {
  const file = join(directory, name)
  using writer = createTokenStore(file, { tokenizerHash })
  for (const row of rows) writer.append(row)
  writer.finish()
  return file
}

const row = fc
  .array(fc.tuple(fc.nat(0x7fffffff), fc.boolean()), { maxLength: 40 })
  .map((tokens) => Uint32Array.from(tokens, ([id, trained]) => (trained ? id | TRAINED_BIT : id)))

describe('a token store', () => {
  it('gives back every row in any order, with its length and labels', () => {
    const orders = fc
      .array(row, { maxLength: 30 })
      .chain((rows) => fc.tuple(fc.constant(rows), fc.array(fc.nat(Math.max(0, rows.length - 1)), { maxLength: 60 })))
    fc.assert(
      fc.property(orders, ([rows, order]) => {
        using store = openTokenStore(written(rows))
        expect(store.count).toBe(rows.length)
        expect(store.tokenizerHash).toBe(tokenizerHash)
        expect(Array.from(store.lengths)).toEqual(rows.map((tokens) => tokens.length))
        expect(Array.from(store.labels)).toEqual(rows.map((tokens) => tokens.filter((id) => id >= TRAINED_BIT).length))
        expect(store.tokens).toBe(rows.reduce((sum, tokens) => sum + tokens.length, 0))
        for (let i = 0; i < rows.length; i++) expect(store.read(i)).toEqual(rows[i])
        for (const i of rows.length === 0 ? [] : order) expect(store.read(i)).toEqual(rows[i])
      }),
      { numRuns: 40, seed: 20_261_122 },
    )
  })

  it('holds rows longer than its buffers and rows across their edges', () => {
    const lengths = [700_000, 3, 262_143, 2, 262_144, 1, 0, 300_001]
    const rows = lengths.map((length, r) => Uint32Array.from({ length }, (_, i) => (i * 31 + r) % 50_000))
    using store = openTokenStore(written(rows))
    for (const i of [...rows.keys(), 4, 0, 7, 1]) expect(store.read(i)).toEqual(rows[i])
  })

  it('hands out rows that later reads do not change', () => {
    const rows = Array.from({ length: 100 }, (_, i) => Uint32Array.of(i, i + 1))
    using store = openTokenStore(written(rows))
    const read = rows.map((_, i) => store.read(i))
    expect(read).toEqual(rows)
  })

  it('refuses a row that is not there', () => {
    using store = openTokenStore(written([Uint32Array.of(1)]))
    for (const bad of [-1, 1, 0.5]) expect(() => store.read(bad)).toThrow(/is not in \[0, 1\)/)
  })
})

describe('writing', () => {
  it('gives the file its name only when it is finished, and leaves nothing behind when it is not', () => {
    const file = join(directory, 'deep', 'tokens.bin')
    {
      using writer = createTokenStore(file, { tokenizerHash })
      writer.append(Uint32Array.of(1, 2))
      expect(readdirSync(join(directory, 'deep'))).not.toContain('tokens.bin')
    }
    expect(readdirSync(join(directory, 'deep'))).toEqual([])
  })

  it('keeps the old file until the new one is whole', () => {
    const file = written([Uint32Array.of(1)])
    using writer = createTokenStore(file, { tokenizerHash })
    writer.append(Uint32Array.of(9))
    {
      using store = openTokenStore(file)
      expect(Array.from(store.read(0))).toEqual([1])
    }
    writer.finish()
    using store = openTokenStore(file)
    expect(Array.from(store.read(0))).toEqual([9])
  })

  it('counts rows, tokens and labels as they come', () => {
    using writer = createTokenStore(join(directory, 'tokens.bin'), { tokenizerHash })
    writer.append(Uint32Array.of(1, 2 | TRAINED_BIT))
    writer.append(Uint32Array.of(3 | TRAINED_BIT))
    expect([writer.rows, writer.tokens, writer.labels]).toEqual([2, 3, 2])
  })

  it('names the file when the disk refuses', () => {
    writeFileSync(join(directory, 'occupied'), '')
    expect(() => createTokenStore(join(directory, 'occupied', 'tokens.bin'), { tokenizerHash })).toThrow(
      /occupied\/tokens.bin: token store cannot be written/,
    )
  })

  it.skipIf(process.platform !== 'linux')('says that the disk is full', () => {
    const file = join(directory, 'full.bin')
    symlinkSync('/dev/full', `${file}.tmp`)
    using writer = createTokenStore(file, { tokenizerHash })
    const write = () => {
      writer.append(Uint32Array.of(1, 2 | TRAINED_BIT))
      writer.finish()
    }
    expect(write).toThrow(
      expect.objectContaining({ exitCode: 1, fault: expect.objectContaining({ code: 'disk-full', file }) }),
    )
  })

  it('writes the same bytes for the same rows', () => {
    const rows = [Uint32Array.of(5, 6), Uint32Array.of(), Uint32Array.of(7)]
    expect(readFileSync(written(rows, 'a')).equals(readFileSync(written(rows, 'b')))).toBe(true)
  })
})

describe('opening', () => {
  it('notices any single changed byte', () => {
    const file = written([Uint32Array.of(1, 2 | TRAINED_BIT, 3), Uint32Array.of(4)])
    const bytes = readFileSync(file)
    for (let i = 0; i < bytes.length; i++) {
      const changed = Buffer.from(bytes)
      changed[i] ^= 0x10
      writeFileSync(file, changed)
      expect(() => openTokenStore(file), `byte ${i}`).toThrow(/token store is not whole/)
    }
  })

  it('notices a file that was cut short anywhere', () => {
    const file = written([Uint32Array.of(1, 2, 3), Uint32Array.of(4)])
    for (let size = readFileSync(file).length - 1; size >= 0; size--) {
      truncateSync(file, size)
      expect(() => openTokenStore(file), `${size} bytes`).toThrow(/token store is not whole/)
    }
  })

  it('says when there is no file', () => {
    expect(() => openTokenStore(join(directory, 'none'))).toThrow(/none: token store cannot be opened/)
  })
})
