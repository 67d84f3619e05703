/**
 * Makes examples/math.jsonl from a math pool (GSM8K, SVAMP, AQuA): 1,100 + 250 + 150 rows drawn per source, kept in the
 * pool's order, byte for byte. Usage: node scripts/make-example.ts <math-pool.jsonl.gz> examples/math.jsonl
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { randomStream, sample } from '../src/random/philox.ts'

const [input, output] = process.argv.slice(2)
const lines = gunzipSync(readFileSync(input)).toString('utf8').trimEnd().split('\n')
const quotas: Record<string, number> = { gsm8k: 1100, svamp: 250, aqua: 150 }
const chosen: number[] = []
for (const [source, quota] of Object.entries(quotas)) {
  const rows = lines.flatMap((line, row) => (JSON.parse(line).source === source ? [row] : []))
  chosen.push(...sample(Uint32Array.from(rows), quota, randomStream(0, `example/${source}`)))
}
chosen.sort((a, b) => a - b)
writeFileSync(output, chosen.map((row) => lines[row] + '\n').join(''))
