import { describe, expect, it } from 'vitest'
import { probeDevice } from '../../src/engine/probe.ts'
import type { OrtApi } from '../../src/engine/session.ts'
import { cpu, devices } from './devices.ts'

describe('probeDevice', () => {
  it.each(devices.map((device) => [device.name, device] as const))('%s works and has a speed', async (name, device) => {
    const probe = await probeDevice(device.ort, name)
    expect(probe).toMatchObject({ name, ok: true })
    expect(probe.gflops).toBeGreaterThan(0)
  })

  it('reports a device that cannot be made, and does not throw', async () => {
    const ort = {
      ...cpu.ort,
      InferenceSession: { create: () => Promise.reject(new Error('no adapter\n  at native code')) },
    } as unknown as OrtApi
    expect(await probeDevice(ort, 'webgpu')).toEqual({ name: 'webgpu', ok: false, reason: 'no adapter' })
  })

  it('reports a device that computes wrong numbers', async () => {
    const ort = {
      ...cpu.ort,
      InferenceSession: {
        create: async (...model: [Uint8Array, object]) => {
          const session = await cpu.ort.InferenceSession.create(...model)
          return {
            run: async (feeds: Parameters<typeof session.run>[0]) => {
              const results = await session.run(feeds)
              const { y } = results
              ;(y.data as Float32Array)[0] += 0.01
              return results
            },
            release: () => session.release(),
          }
        },
      },
    } as unknown as OrtApi
    const probe = await probeDevice(ort, 'cpu')
    expect(probe.ok).toBe(false)
    expect(probe.reason).toContain('wrong numbers')
  })
})
