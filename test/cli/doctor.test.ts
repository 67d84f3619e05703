import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { emptyDirectory, winnow } from './command.ts'

describe('doctor', () => {
  it('--json has all that it found, ends with 0 where cpu works, and leaves nothing behind', async () => {
    const cwd = emptyDirectory()
    const { code, stdout } = await winnow(['doctor', '--json'], { cwd })
    const found = JSON.parse(stdout)
    expect(code).toBe(0)
    expect(found).toMatchObject({
      winnow: expect.stringMatching(/^winnow-llm \d/),
      node: { version: process.versions.node, ok: true },
      packages: [
        { name: 'onnxruntime-node', ok: true, version: expect.stringMatching(/^\d+\.\d+/) },
        { name: '@duckdb/node-api', ok: true, version: expect.stringMatching(/^\d+\.\d+/) },
        { name: 'tokenizers', ok: true },
      ],
      places: [
        { purpose: 'working directory', writable: true, freeBytes: expect.any(Number) },
        { purpose: 'temporary files', writable: true, freeBytes: expect.any(Number) },
      ],
      auto: expect.stringMatching(/^(cpu|webgpu)$/),
      ok: true,
    })
    const [cpu, webgpu] = found.devices
    expect(cpu).toMatchObject({ name: 'cpu', ok: true, gflops: expect.any(Number) })
    expect(cpu.gflops).toBeGreaterThan(0)
    expect(webgpu.name).toBe('webgpu')
    // What does not work comes with a reason and a way out.
    if (!webgpu.ok) expect([webgpu.reason, webgpu.hint]).toEqual([expect.any(String), expect.any(String)])
  })

  it.runIf(process.platform === 'linux')(
    'says that the Vulkan loader is missing, on a page, and still ends with 0',
    async () => {
      const cwd = emptyDirectory()
      // A library that cannot be loaded stands for one that is not there.
      writeFileSync(join(cwd, 'libvulkan.so.1'), '')
      const { code, stdout } = await winnow(['doctor'], { cwd, env: { LD_LIBRARY_PATH: cwd } })
      expect(code).toBe(0)
      expect(stdout).toMatch(/✓ device cpu +works/)
      expect(stdout.replaceAll(/\s+/g, ' ')).toContain(
        'device webgpu does not work: the Vulkan loader (libvulkan.so.1) is missing',
      )
      expect(stdout).toContain('takes cpu')
    },
  )
})

const swiftShader = '/usr/lib/chromium/vk_swiftshader_icd.json'

it.runIf(existsSync(swiftShader) && !existsSync('/dev/dri'))(
  'doctor names SwiftShader and would not take it',
  async () => {
    const { stdout } = await winnow(['doctor', '--json'], { env: { VK_ICD_FILENAMES: swiftShader } })
    const { devices, auto } = JSON.parse(stdout)
    expect(devices[1]).toMatchObject({ name: 'webgpu', ok: true, software: 'SwiftShader' })
    expect(auto).toBe('cpu')
  },
)
