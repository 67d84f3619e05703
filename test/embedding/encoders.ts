/** Encoders for tests: the tiny BERT of test/fixtures/encoder, and odd graphs beside its tokenizer. */

import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { lowerGraph } from '../../src/engine/onnx/lowering.ts'
import { encodeModel } from '../../src/engine/onnx/protobuf.ts'
import { add, scale } from '../../src/engine/operators/elementwise.ts'
import { gatherRows } from '../../src/engine/operators/gather.ts'
import { reshape } from '../../src/engine/operators/layout.ts'
import { sum } from '../../src/engine/operators/reduce.ts'
import { constant, input, scalar, type Tensor } from '../../src/engine/tensor.ts'
import { makeDirectories } from '../../src/runs/files.ts'

const FIXTURES = fileURLToPath(new URL('../fixtures/encoder', import.meta.url))
/** sentence-transformers' layout: modules.json, 1_Pooling (mean), a limit of 24 tokens, d = 32. */
export const TINY = join(FIXTURES, 'tiny-bert')

interface Expected {
  maxTokens: number
  texts: string[]
  /** As transformers gives them, cut to maxTokens. */
  ids: number[][]
  /** By sentence-transformers' names of pooling, not normalised. */
  vectors: Record<'mean' | 'cls' | 'lasttoken' | 'weightedmean', number[][]>
}

/** What sentence-transformers gives for TINY (bench/peers/make_encoder_fixtures.py). */
export const expected: Expected = JSON.parse(await readFile(join(FIXTURES, 'expected.json'), 'utf8'))

/**
 * A copy of TINY in a directory of its own, files put into it: bytes and texts as they are, objects as JSON; undefined takes a file away.
 */
export async function variant(files: Record<string, string | Uint8Array | object | undefined> = {}): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'winnow-encoder-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  await cp(TINY, directory, { recursive: true })
  for (const [name, content] of Object.entries(files)) {
    const path = join(directory, name)
    await rm(path, { recursive: true, force: true })
    if (content === undefined) continue
    await makeDirectories(join(path, '..'))
    const plain = typeof content === 'string' || content instanceof Uint8Array
    await writeFile(path, plain ? content : JSON.stringify(content))
  }
  return directory
}

const VOCABULARY = 187
/** d of the graphs that are only a table. */
export const TABLE_WIDTH = 3

/** Row i of the table: i, 1, -i/2; of [UNK], id 1, what is given. */
function table(unknown: number): Tensor {
  const data = Float32Array.from({ length: VOCABULARY * TABLE_WIDTH }, (_, at) => {
    const [id, column] = [Math.floor(at / TABLE_WIDTH), at % TABLE_WIDTH]
    return id === 1 ? unknown : [id, 1, -id / 2][column]
  })
  return constant(data, [VOCABULARY, TABLE_WIDTH])
}

/**
 * An ONNX graph that looks `input_ids` (int32) up in a table: outputs of these names, [batch, length, 3], or [batch * length, 3] where
 * they are said to be flat. A text's mean is easily computed by hand.
 */
export function tableGraph(
  outputs: readonly string[],
  { inputName = 'input_ids', unknown = 1, flat = false }: { inputName?: string; unknown?: number; flat?: boolean } = {},
): Uint8Array {
  const ids = reshape(input(inputName, ['batch', 'length'], 'int32'), ['batch*length'])
  const rows = gatherRows(table(unknown), ids)
  const output = flat ? rows : reshape(rows, ['batch', 'length', TABLE_WIDTH])
  return encodeModel(lowerGraph(Object.fromEntries(outputs.map((name) => [name, output])), 'cpu'))
}

/** Looks ids up in a float16 table, which is that of `tableGraph`. */
export const HALF = join(FIXTURES, 'half.onnx')

/**
 * A decoder's graph: the table's row of the id plus that of its position, given an empty cache of keys, [batch, 2, past, 4], whose sum is added.
 */
export function decoderGraph(): Uint8Array {
  const looked = (name: string) => {
    const ids = input(name, ['batch', 'length'], 'int32')
    return reshape(gatherRows(table(1), reshape(ids, ['batch*length'])), ['batch', 'length', TABLE_WIDTH])
  }
  const past = input('past_key_values.0.key', ['batch', 2, 'past', 4])
  const cached = reshape(sum(past, { axes: [1, 2, 3] }), ['batch', 1, 1])
  const mask = reshape(input('attention_mask', ['batch', 'length'], 'int32'), ['batch*length'])
  // The mask's own rows, times 0: it is asked for and changes nothing.
  const unused = scale(reshape(gatherRows(table(1), mask), ['batch', 'length', TABLE_WIDTH]), 0)
  const states = add(add(add(looked('input_ids'), looked('position_ids')), unused), cached)
  return encodeModel(lowerGraph({ last_hidden_state: states }, 'cpu'))
}

/** A table's hidden states and, as `sentence_embedding`, [batch, 3] of sevens. */
export function pooledGraph(): Uint8Array {
  const ids = input('input_ids', ['batch', 'length'], 'int32')
  const rows = gatherRows(table(1), reshape(ids, ['batch*length']))
  const states = reshape(rows, ['batch', 'length', TABLE_WIDTH])
  const sevens = add(scale(sum(states, { axes: [1] }), 0), scalar(7))
  return encodeModel(lowerGraph({ last_hidden_state: states, sentence_embedding: sevens }, 'cpu'))
}

/** A classifier of two labels: thousandths of the sum of a text's ids (padding is id 0), and minus half of that. */
export function labelGraph(): Uint8Array {
  const ids = input('input_ids', ['batch', 'length'], 'int32')
  const data = Float32Array.from({ length: VOCABULARY * 2 }, (_, at) => (at >> 1) * (at % 2 === 0 ? 1e-3 : -5e-4))
  const rows = gatherRows(constant(data, [VOCABULARY, 2]), reshape(ids, ['batch*length']))
  return encodeModel(lowerGraph({ logits: sum(reshape(rows, ['batch', 'length', 2]), { axes: [1] }) }, 'cpu'))
}
