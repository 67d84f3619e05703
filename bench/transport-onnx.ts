/**
 * The steps of Sinkhorn's iteration as ONNX Runtime does them on the cpu, beside this project's kernels: what
 * docs/decisions/0015-transport-kernels.md rests on.
 *
 *   node bench/transport-onnx.ts [--python path]      (a Python with `onnx` writes the graphs)
 */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import * as ort from 'onnxruntime-node'
import { median } from './sides.ts'

const { values: options } = parseArgs({ options: { python: { type: 'string', default: 'python3' } } })
const [m, n, d, threads] = [1000, 20_000, 384, 2]
const folder = mkdtempSync(join(tmpdir(), 'sinkhorn-onnx-'))
try {
  const script = join(import.meta.dirname, 'peers/make_sinkhorn_onnx.py')
  execFileSync(options.python, ['-B', script, folder, ...[m, n, d].map(String)], { stdio: 'inherit' })
  for (const [name, shapes] of Object.entries({
    dots: { x: [m, d], y: [d, n] },
    exp: { c: [m, n] },
    rows: { k: [m, n], v: [n, 1] },
    columns: { u: [1, m], k: [m, n] },
    log: { g: [1, n], c: [m, n] },
  })) {
    const session = await ort.InferenceSession.create(join(folder, `${name}.onnx`), { intraOpNumThreads: threads })
    const feeds = Object.fromEntries(
      Object.entries(shapes).map(([input, shape]) => {
        const data = Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => -((i * 0.618) % 1))
        return [input, new ort.Tensor('float32', data, shape)]
      }),
    )
    const [seconds, cpu]: number[][] = [[], []]
    for (let round = 0; round < 6; round++) {
      const before = process.cpuUsage()
      const start = performance.now()
      await session.run(feeds)
      seconds.push(performance.now() - start)
      const { user, system } = process.cpuUsage(before)
      cpu.push((user + system) / 1000)
    }
    console.log(
      `${name.padEnd(8)} ${median(seconds.slice(1)).toFixed(1)} ms  (cpu ${median(cpu.slice(1)).toFixed(1)} ms)`,
    )
    await session.release()
  }
} finally {
  rmSync(folder, { recursive: true })
}
