/** Devices that tests run on: cpu always; webgpu on a GPU or on SwiftShader, and why not where there is neither. */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Device } from '../../src/engine/session.ts'

const swiftShader = '/usr/lib/chromium/vk_swiftshader_icd.json'
/** Without Vulkan's loader webgpu cannot start, whatever driver there is. */
function hasLoader(): boolean {
  try {
    return execFileSync('ldconfig', ['-p']).includes('libvulkan.so.1')
  } catch {
    return false
  }
}
// Must happen before ONNX Runtime loads the Vulkan loader.
if (process.env.VK_ICD_FILENAMES === undefined && !existsSync('/dev/dri') && existsSync(swiftShader))
  process.env.VK_ICD_FILENAMES = swiftShader
process.env.XDG_RUNTIME_DIR ??= mkdtempSync(join(tmpdir(), 'winnow-xdg-'))

const ort = await import('onnxruntime-node')

export const cpu: Device = { ort, name: 'cpu', threads: 2 }
export const webgpu: Device | undefined =
  (process.env.VK_ICD_FILENAMES !== undefined || existsSync('/dev/dri')) && hasLoader()
    ? { ort, name: 'webgpu', threads: 1 }
    : undefined
export const devices: Device[] = webgpu ? [cpu, webgpu] : [cpu]
