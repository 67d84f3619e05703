/** What `doctor` looks at: this machine, and whether the native packages load on it. */

import { constants } from 'node:fs'
import { access, statfs } from 'node:fs/promises'
import { arch, availableParallelism, cpus, freemem, release, tmpdir, totalmem } from 'node:os'
import { resolve } from 'node:path'
import type { DeviceName } from '../engine/session.ts'
import { type DeviceFinding, findDevice } from './device.ts'
import { name, nodeRange, version } from './version.ts'

export interface PackageFinding {
  name: string
  ok: boolean
  version?: string
  reason?: string
}

export interface PlaceFinding {
  purpose: string
  path: string
  writable: boolean
  freeBytes?: number
  reason?: string
}

export interface Diagnosis {
  winnow: string
  node: { version: string; wanted: string; ok: boolean }
  platform: { system: string; arch: string; release: string }
  cores: { available: number; model: string }
  memory: { totalBytes: number; freeBytes: number }
  packages: PackageFinding[]
  devices: DeviceFinding[]
  /** What `--device auto` would take. */
  auto: DeviceName
  places: PlaceFinding[]
  /** Whether `select` can work here. */
  ok: boolean
}

/** Each needs its native part: it is asked for something that only that part can answer. */
const loaders: [name: string, load: () => Promise<string | undefined>][] = [
  [
    'onnxruntime-node',
    async () => {
      const { env } = await import('onnxruntime-node')
      return env.versions.node
    },
  ],
  [
    '@duckdb/node-api',
    async () => {
      const { DuckDBInstance } = await import('@duckdb/node-api')
      const connection = await (await DuckDBInstance.create(':memory:')).connect()
      const [[found]] = (await connection.runAndReadAll('select version()')).getRows()
      connection.closeSync()
      return String(found).replace(/^v/, '')
    },
  ],
  [
    'tokenizers',
    async () => {
      const { Tokenizer } = await import('tokenizers')
      if (typeof Tokenizer !== 'function') throw new Error('it has no Tokenizer')
      return undefined
    },
  ],
]

async function tryPackage([name, load]: (typeof loaders)[number]): Promise<PackageFinding> {
  try {
    return { name, ok: true, version: await load() }
  } catch (error) {
    return { name, ok: false, reason: (error as Error).message.split('\n')[0] }
  }
}

async function tryPlace(purpose: string, path: string): Promise<PlaceFinding> {
  const free = await statfs(path).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => undefined,
  )
  try {
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK)
    return { purpose, path, writable: true, freeBytes: free }
  } catch (error) {
    return { purpose, path, writable: false, freeBytes: free, reason: (error as NodeJS.ErrnoException).code }
  }
}

/** `>=22.18` */
function isAtLeast(found: string, wanted: string): boolean {
  const parts = (text: string) => (text.match(/\d+/g) ?? []).map(Number)
  const [a, b] = [parts(found), parts(wanted)]
  const at = b.findIndex((part, i) => (a[i] ?? 0) !== part)
  return at < 0 || (a[at] ?? 0) > b[at]
}

/** Looks at everything that a run needs. Takes some seconds: each device is tried in a process of its own. Never throws. */
export async function diagnose(onStep: (what: string) => void = () => {}): Promise<Diagnosis> {
  const packages: PackageFinding[] = []
  for (const loader of loaders) {
    onStep(`loading ${loader[0]}`)
    packages.push(await tryPackage(loader))
  }
  const devices: DeviceFinding[] = []
  for (const device of ['cpu', 'webgpu'] as const) {
    onStep(`trying ${device}`)
    devices.push(await findDevice(device))
  }
  const [cpu, webgpu] = devices
  const node = { version: process.versions.node, wanted: nodeRange, ok: isAtLeast(process.versions.node, nodeRange) }
  const places = [await tryPlace('working directory', resolve('.')), await tryPlace('temporary files', tmpdir())]
  return {
    winnow: `${name} ${version}`,
    node,
    platform: { system: process.platform, arch: arch(), release: release() },
    cores: { available: availableParallelism(), model: cpus()[0]?.model.trim() ?? 'unknown' },
    memory: { totalBytes: totalmem(), freeBytes: freemem() },
    packages,
    devices,
    auto: webgpu.ok && webgpu.software === undefined ? 'webgpu' : 'cpu',
    places,
    ok: cpu.ok,
  }
}
