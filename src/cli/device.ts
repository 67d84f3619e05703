/** Which device a run gets, and what `doctor` says of each. */

import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { DeviceProbe } from '../engine/probe.ts'
import type { DeviceName } from '../engine/session.ts'
import { WinnowError } from '../errors.ts'
import type { ChildReport } from './device-child.ts'
import { type GraphicsNodes, graphicsNodes, softwareRenderer } from './graphics.ts'

/** A probe with what it means. */
export interface DeviceFinding extends DeviceProbe {
  /** Works, but on the CPU: the software renderer's name. Such a device is never chosen by `auto`. */
  software?: string
  /** What to do about it. */
  hint?: string
}

/** What came of the probing process. */
export interface ChildOutcome {
  report?: ChildReport
  /** Signal that ended it, where it ended before its report. */
  signal?: string
  timedOut: boolean
  /** What drivers wrote on standard error. */
  log: string
}

/** A device that works this slowly at a matrix product is no GPU, whatever it says, 10^9 operations a second. */
const SLOWEST_GPU = 2
const TIMEOUT_MS = 60_000

/** Probes a device in a process of its own. Never throws: a crash is an outcome. */
export function probeInChild(name: DeviceName): Promise<ChildOutcome> {
  // Sources run unbuilt: the child's file ends as this one does.
  const entry = fileURLToPath(new URL(`./device-child${import.meta.url.slice(-3)}`, import.meta.url))
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [entry, name],
      { timeout: TIMEOUT_MS, killSignal: 'SIGKILL', env: { ...process.env, ...driverEnvironment() } },
      (error, stdout, log) => {
        const line = stdout.split('\n').findLast((text) => text.startsWith('{"probe":'))
        resolve({
          report: line === undefined ? undefined : (JSON.parse(line) as ChildReport),
          signal: error?.signal ?? (error === null ? undefined : `exit code ${error.code}`),
          timedOut: error?.killed === true,
          log,
        })
      },
    )
  })
}

let runtimeDirectory: string | undefined

/** Vulkan drivers complain on standard error where XDG_RUNTIME_DIR is missing, as it is in containers. */
export function driverEnvironment(): { XDG_RUNTIME_DIR?: string } {
  if (process.platform !== 'linux' || process.env.XDG_RUNTIME_DIR) return {}
  if (runtimeDirectory === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'winnow-xdg-'))
    process.once('exit', () => rmSync(made, { recursive: true, force: true }))
    runtimeDirectory = made
  }
  return { XDG_RUNTIME_DIR: runtimeDirectory }
}

/** What an outcome means: whether the device works, on what, and what to do if not. Pure. */
export function judge(name: DeviceName, outcome: ChildOutcome, graphics: GraphicsNodes): DeviceFinding {
  const { report, log } = outcome
  if (report === undefined) {
    const reason = outcome.timedOut
      ? `it gave no answer within ${TIMEOUT_MS / 1000} s`
      : `trying it ended the process (${outcome.signal ?? 'no report'})`
    const hint =
      name === 'cpu'
        ? 'Reinstall onnxruntime-node for this platform.'
        : 'Update the GPU driver. Winnow itself is safe: it tries GPUs in a process of their own and uses cpu.'
    return { name, ok: false, reason, hint }
  }
  const { probe, drivers } = report
  if (name === 'cuda' && !probe.ok) return { ...probe, ...explainCuda(probe.reason ?? '', graphics) }
  if (name === 'cuda') return probe
  if (name === 'cpu') return probe.ok ? probe : { ...probe, hint: 'Reinstall onnxruntime-node for this platform.' }
  if (!probe.ok) return { ...probe, ...explain(probe.reason ?? '', log, graphics) }
  const renderers = drivers.map(softwareRenderer)
  const known = renderers.find((renderer) => renderer !== undefined)
  const isSoftware =
    (drivers.length > 0 && renderers.every((renderer) => renderer !== undefined)) ||
    graphics.nodes?.length === 0 ||
    (probe.gflops !== undefined && probe.gflops < SLOWEST_GPU)
  if (!isSoftware) return probe
  return {
    ...probe,
    software: known ?? 'a software renderer',
    hint: 'It runs on the CPU and is far slower than the cpu device: for tests only, never chosen by --device auto.',
  }
}

/** A failed cuda probe in terms of what is missing. */
function explainCuda(reason: string, graphics: GraphicsNodes): { reason: string; hint: string } {
  if (graphics.nodes?.every((node) => !node.includes('nvidia')))
    return { reason: 'there is no NVIDIA card (no /dev/nvidia*)', hint: 'Other cards work with --device webgpu.' }
  return {
    reason: /not available|not found|backend/i.test(reason)
      ? 'ONNX Runtime was installed without its CUDA provider'
      : reason,
    hint: 'Install onnxruntime-node with it (npm rebuild onnxruntime-node, ONNXRUNTIME_NODE_INSTALL not set to skip), CUDA 12 and cuDNN 9; or use --device webgpu, which needs neither.',
  }
}

/** A failed webgpu probe in terms of what is missing. */
function explain(reason: string, log: string, graphics: GraphicsNodes): { reason: string; hint: string } {
  if (/couldn't load vulkan/i.test(log)) {
    return {
      reason: 'the Vulkan loader (libvulkan.so.1) is missing',
      hint: "Where there is a GPU, install the loader and the GPU's driver: libvulkan1 and mesa-vulkan-drivers (Debian, Ubuntu), vulkan-loader (Fedora), vulkan-icd-loader (Arch), or NVIDIA's driver.",
    }
  }
  if (!/no supported adapters|failed to get a webgpu adapter/i.test(reason))
    return { reason, hint: 'Runs use cpu. If this machine has a GPU, update its driver.' }
  if (graphics.nodes?.length === 0) {
    return {
      reason: 'there is no GPU (no /dev/dri/renderD*, /dev/nvidia*, /dev/dxg)',
      hint: 'Nothing to do on a machine without a GPU. In a container, pass it through: --gpus all (NVIDIA) or --device /dev/dri.',
    }
  }
  if (graphics.forbidden.length > 0) {
    return {
      reason: `this user may not open ${graphics.forbidden.join(', ')}`,
      hint: 'Add the user to the group of these files (often `render` or `video`) and log in again.',
    }
  }
  const nodes = graphics.nodes === undefined ? '' : `; ${graphics.nodes.join(', ')} exists`
  return {
    reason: `no GPU driver that WebGPU can use was found${nodes}`,
    hint:
      process.platform === 'linux'
        ? "Install the GPU's Vulkan driver: mesa-vulkan-drivers (AMD, Intel) or NVIDIA's driver with its Vulkan files."
        : "Update the GPU's driver.",
  }
}

/** Probes and judges one device. */
export async function findDevice(name: DeviceName): Promise<DeviceFinding> {
  return judge(name, await probeInChild(name), graphicsNodes())
}

export interface DeviceChoice {
  name: DeviceName
  /** In a few words. */
  why: string
}

/**
 * The device of a run. `auto` is webgpu where a real GPU was found, tried in a process of its own, and works; else cpu.
 *
 * @throws {WinnowError} `device-unavailable` when a device is asked for by name and does not work.
 */
export async function chooseDevice(
  requested: DeviceName | 'auto',
  find: (name: DeviceName) => Promise<DeviceFinding> = findDevice,
  graphics: GraphicsNodes = graphicsNodes(),
): Promise<DeviceChoice> {
  if (requested === 'cpu') return { name: 'cpu', why: 'as asked' }
  if (requested === 'auto' && graphics.nodes?.length === 0) return { name: 'cpu', why: 'no GPU found' }
  const finding = await find(requested === 'cuda' ? 'cuda' : 'webgpu')
  if (requested !== 'auto') {
    if (finding.ok) return { name: requested, why: finding.software ? `${finding.software}: slow` : 'as asked' }
    throw new WinnowError('failure', {
      code: 'device-unavailable',
      message: `the device does not work: ${finding.reason}`,
      path: '--device',
      found: requested,
      hint: `${finding.hint ?? ''} \`winnow doctor\` says more; --device cpu works everywhere.`.trim(),
    })
  }
  if (finding.ok && finding.software === undefined) return { name: 'webgpu', why: 'a GPU was found' }
  return { name: 'cpu', why: finding.ok ? `the only adapter is ${finding.software}` : (finding.reason ?? '') }
}
