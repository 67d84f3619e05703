/** Probes one device and prints the result: a process of its own, because a GPU driver can end the process it runs in. */

import { type DeviceProbe, probeDevice } from '../engine/probe.ts'
import type { DeviceName } from '../engine/session.ts'
import { loadedDrivers } from './graphics.ts'

/** What the child prints, as one line of JSON. */
export interface ChildReport {
  probe: DeviceProbe
  /** Vulkan drivers that were loaded by the probe. */
  drivers: string[]
}

const name = process.argv[2] as DeviceName
let probe: DeviceProbe
try {
  probe = await probeDevice(await import('onnxruntime-node'), name)
} catch (error) {
  probe = { name, ok: false, reason: `ONNX Runtime does not load: ${(error as Error).message}` }
}
const report: ChildReport = { probe, drivers: loadedDrivers() }
// Drivers may crash while they are unloaded; that is no matter of ours once the line is out.
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0))
