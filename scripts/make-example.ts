/**
 * Makes the example data from larger pools: rows drawn per source and kept in the pool's order, byte for byte. Usage:
 *
 *   node scripts/make-example.ts math    <math-pool.jsonl.gz>   examples/math.jsonl
 *   node scripts/make-example.ts domains <domain-pool.jsonl.gz> examples/domains.jsonl
 *   node scripts/make-example.ts reviews <reviews.jsonl>        examples/reviews.jsonl
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { randomStream, sample } from '../src/random/philox.ts'

interface Example {
  /** Field that names a row's source; without one all rows are of one source. */
  field?: string
  quotas: Record<string, number>
}

const examples: Record<string, Example> = {
  math: { field: 'source', quotas: { gsm8k: 1100, svamp: 250, aqua: 150 } },
  domains: {
    field: 'domain',
    quotas: {
      ...{ 'pros-cons': 900, 'movie-sentences': 400, 'product-reviews': 250 },
      ...{ gsm8k: 150, 'medquad/ninds': 150, scitldr: 150 },
    },
  },
  reviews: { quotas: { '': 120 } },
}

const [name, input, output] = process.argv.slice(2)
const { field, quotas } = examples[name]
const bytes = readFileSync(input)
const text = (input.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
const lines = text.trimEnd().split('\n')
const sourceOf = (line: string) => (field === undefined ? '' : JSON.parse(line)[field])
const chosen: number[] = []
for (const [source, quota] of Object.entries(quotas)) {
  const rows = lines.flatMap((line, row) => (sourceOf(line) === source ? [row] : []))
  chosen.push(...sample(Uint32Array.from(rows), quota, randomStream(0, `example/${source}`)))
}
chosen.sort((a, b) => a - b)
writeFileSync(output, chosen.map((row) => `${lines[row]}\n`).join(''))
