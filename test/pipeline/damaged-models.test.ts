/** Models whose files do not fit together: each ends with what is wrong, and leaves nothing at the place of the output. */

import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import type { TensorMap } from '../../src/engine/tensor.ts'
import { readSafetensors, writeSafetensors } from '../../src/models/safetensors.ts'
import { score } from '../../src/pipeline/score.ts'
import { tinyModel } from './models.ts'
import { directory, poolLines, writePool } from './pools.ts'

function prepared() {
  const home = directory()
  const pool = join(home, 'pool.jsonl')
  writePool(pool, poolLines({ svamp: 3, gsm8k: 0 }))
  const proxy = tinyModel(join(home, 'model'))
  const out = join(home, 'scores.parquet')
  const file = (name: string) => join(proxy, name)
  return {
    file,
    out,
    run: () => score({ pool: [pool], proxy, out, run: join(home, 'run'), threads: 1 }, { ort }),
    change(change: (tensors: TensorMap) => void) {
      const { tensors } = readSafetensors(readFileSync(file('model.safetensors')))
      change(tensors)
      writeFileSync(file('model.safetensors'), writeSafetensors(tensors))
    },
    configure(members: object) {
      const config = JSON.parse(readFileSync(file('config.json'), 'utf8'))
      writeFileSync(file('config.json'), JSON.stringify({ ...config, ...members }))
    },
  }
}

const EMBEDDING = 'model.embed_tokens.weight'
type Prepared = ReturnType<typeof prepared>

describe('a model', () => {
  it.each<[string, string, RegExp, (model: Prepared) => void]>([
    [
      'with a weight that is no number',
      'weights-not-finite',
      /'model\.norm\.weight'/,
      ({ change }) => change((tensors) => tensors.get('model.norm.weight')!.data.set([Number.NaN], 5)),
    ],
    [
      'whose embeddings are tied and differ',
      'untied-weights',
      /'lm_head\.weight' is another matrix/,
      ({ change }) =>
        change((tensors) => {
          const { shape, data } = tensors.get(EMBEDDING)!
          tensors.set('lm_head.weight', { shape, data: Float32Array.from(data, (x) => x + 1) })
        }),
    ],
    [
      'cut off in its weights',
      'bad-safetensors',
      /it is torn/,
      ({ file }) => truncateSync(file('model.safetensors'), 90_000),
    ],
    [
      'with fewer layers than its configuration',
      'weights-mismatch',
      /9 tensors missing: model\.layers\.2/,
      ({ configure }) => configure({ num_hidden_layers: 3 }),
    ],
    [
      'with another tokenizer than its own',
      'tokenizer-mismatch',
      /no embedding for/,
      ({ configure, change }) => {
        configure({ vocab_size: 400 })
        change((tensors) => {
          const { data } = tensors.get(EMBEDDING)!
          tensors.set(EMBEDDING, { shape: [400, 32], data: data.slice(0, 400 * 32) as Float32Array })
        })
      },
    ],
  ])('%s is refused', async (_, code, message, damage) => {
    const model = prepared()
    damage(model)
    await expect(model.run()).rejects.toMatchObject({
      exitCode: 2,
      fault: { code, message: expect.stringMatching(message), file: expect.stringContaining('model') },
    })
    expect(existsSync(model.out)).toBe(false)
  })

  it('with the same embedding by both names, or by that of the output alone, is as good as with one', async () => {
    const model = prepared()
    const plain = await model.run()
    expect(plain.nll).toBeGreaterThan(0)
    for (const rename of [false, true]) {
      model.change((tensors) => {
        tensors.set('lm_head.weight', tensors.get(EMBEDDING)!)
        if (rename) tensors.delete(EMBEDDING)
      })
      expect((await model.run()).nll).toBe(plain.nll)
    }
  })
})
