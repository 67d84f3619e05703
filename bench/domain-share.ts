/**
 * Of what each method picks toward a target, the share that is from the right domain: a pool of known, mixed domains, three targets that each
 * are of one of them.
 *
 *   node bench/domain-share.ts --data <directory> [--budgets 200,500] [--seeds 3] [--embeddings ngrams,<directory of an encoder>]
 *
 * The directory holds domain-pool.jsonl.gz and domain-targets/{reviews,ninds,scicite}.jsonl. Writes bench/results/domain-share.json.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import * as ort from 'onnxruntime-node'
import { select } from '../src/pipeline/select.ts'
import { machine } from './sides.ts'

const { values: options } = parseArgs({
  options: {
    data: { type: 'string' },
    budgets: { type: 'string', default: '200,500' },
    seeds: { type: 'string', default: '3' },
    embeddings: { type: 'string', default: 'ngrams' },
  },
})
if (options.data === undefined) throw new Error('say where the data is: --data <directory>')
const data = options.data
const budgets = options.budgets.split(',')
const seeds = Array.from({ length: Number(options.seeds) }, (_, seed) => seed)

/** The domain of the pool that each target is of. */
const targets: Record<string, string> = { reviews: 'product-reviews', ninds: 'medquad/ninds', scicite: 'scitldr' }

interface Way {
  name: string
  method: string
  methodOptions?: Record<string, unknown>
  /** Whether its pick depends on the embedding, and on the seed by more than a sample. */
  embeds: boolean
  draws: boolean
}

const ways: Way[] = [
  { name: 'got-d', method: 'got-d', embeds: true, draws: false },
  { name: 'got-d --domains all', method: 'got-d', methodOptions: { domains: 'all' }, embeds: true, draws: false },
  { name: 'tapt-knn', method: 'tapt-knn', embeds: true, draws: false },
  { name: 'dsir', method: 'dsir', embeds: false, draws: true },
  { name: 'dapt', method: 'dapt', embeds: true, draws: true },
  { name: 'all-domains', method: 'all-domains', embeds: false, draws: true },
  { name: 'random', method: 'random', embeds: false, draws: true },
]

const home = mkdtempSync(join(tmpdir(), 'domain-share-'))
const results: object[] = []
try {
  for (const [target, domain] of Object.entries(targets))
    for (const embedding of options.embeddings.split(','))
      for (const { name, method, methodOptions, embeds, draws } of ways) {
        if (!embeds && embedding !== options.embeddings.split(',')[0]) continue
        for (const budget of budgets) {
          const shares: number[] = []
          const tokens: number[] = []
          let nearest: string | undefined
          for (const seed of draws ? seeds : [0]) {
            const out = join(home, 'out.jsonl')
            const result = await select(
              {
                pool: [join(data, 'domain-pool.jsonl.gz')],
                target: [join(data, 'domain-targets', `${target}.jsonl`)],
                ...{ method, methodOptions, budget, seed, out, overwrite: true },
                ...(embeds && { embedding }),
                run: join(home, basename(embedding)),
                threads: 2,
              },
              { ort },
            )
            const picked = readFileSync(out, 'utf8').trimEnd().split('\n')
            shares.push(picked.filter((line) => JSON.parse(line).domain === domain).length / picked.length)
            tokens.push(result.tokens.selected / result.selected)
            nearest = result.target?.domains?.[0].name
          }
          const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length
          const row = {
            ...{ target, domain, way: name, budget: Number(budget), seeds: shares.length },
            ...(embeds && { embedding: basename(embedding) }),
            ...(nearest !== undefined && { nearest }),
            share: mean(shares),
            ...(draws && { shares }),
            tokensPerRow: mean(tokens),
          }
          results.push(row)
          console.log(
            `${target.padEnd(8)} ${budget.padStart(5)}  ${name.padEnd(20)} ${embeds ? basename(embedding).padEnd(18) : ''.padEnd(18)} ${(100 * row.share).toFixed(1).padStart(5)} % from ${domain}`,
          )
        }
      }
} finally {
  rmSync(home, { recursive: true })
}
const version = JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8')).version
writeFileSync(
  join(import.meta.dirname, 'results/domain-share.json'),
  `${JSON.stringify({ date: new Date().toISOString(), version, machine: machine(), results }, null, 2)}\n`,
)
