import { describe, expect, it } from 'vitest'
import { type ChildOutcome, chooseDevice, type DeviceFinding, judge } from '../../src/cli/device.ts'
import { WinnowError } from '../../src/errors.ts'

const gpu = { nodes: ['/dev/dri/renderD128'], forbidden: [] }
const noGpu = { nodes: [], forbidden: [] }
/** macOS and Windows. */
const unknown = { forbidden: [] }

const worked = (gflops: number, ...drivers: string[]): ChildOutcome => ({
  report: { probe: { name: 'webgpu', ok: true, gflops }, drivers },
  timedOut: false,
  log: '',
})
const failed = (reason: string, log = ''): ChildOutcome => ({
  report: { probe: { name: 'webgpu', ok: false, reason }, drivers: [] },
  timedOut: false,
  log,
})
const noAdapter = 'Failed to get a WebGPU adapter: No supported adapters'

describe('judge', () => {
  it('a GPU that works is one', () => {
    expect(judge('webgpu', worked(300, 'libvulkan_radeon.so', 'libvulkan_lvp.so'), gpu).software).toBeUndefined()
    expect(judge('webgpu', worked(300), unknown).software).toBeUndefined()
  })

  it('software renderers are named, by their driver, by the lack of a GPU and by their speed', () => {
    expect(judge('webgpu', worked(0.1, 'libvk_swiftshader.so'), noGpu).software).toBe('SwiftShader')
    expect(judge('webgpu', worked(9, 'libvulkan_lvp.so'), gpu).software).toBe('llvmpipe')
    expect(judge('webgpu', worked(9, 'libvulkan_intel.so', 'libvulkan_lvp.so'), noGpu).software).toBe('llvmpipe')
    expect(judge('webgpu', worked(0.5), unknown).software).toBe('a software renderer')
  })

  it.each([
    ['no GPU', failed(noAdapter), noGpu, 'there is no GPU', '--gpus all'],
    ['no right to it', failed(noAdapter), { nodes: ['/dev/x'], forbidden: ['/dev/x'] }, 'may not open /dev/x', 'group'],
    ['no driver', failed(noAdapter), gpu, '/dev/dri/renderD128 exists', 'driver'],
    ['no loader', failed(noAdapter, "Warning: Couldn't load Vulkan: x"), gpu, 'libvulkan.so.1', 'install the loader'],
    ['a crash', { signal: 'SIGSEGV', timedOut: false, log: '' }, gpu, 'ended the process (SIGSEGV)', 'Update'],
    ['a hang', { signal: 'SIGKILL', timedOut: true, log: '' }, gpu, 'no answer within 60 s', 'Update'],
    ['anything else', failed('the sky fell'), gpu, 'the sky fell', 'Runs use cpu'],
  ])('%s is told with a reason and what to do', (_, outcome, graphics, reason, hint) => {
    const finding = judge('webgpu', outcome, graphics)
    expect(finding.ok).toBe(false)
    expect(finding.reason).toContain(reason)
    expect(finding.hint).toContain(hint)
  })
})

describe('chooseDevice', () => {
  const finding = (found: Partial<DeviceFinding>) => async (): Promise<DeviceFinding> => ({
    name: 'webgpu',
    ok: true,
    ...found,
  })
  const never = () => Promise.reject(new Error('nothing was to be tried'))

  it('auto takes a real GPU that works', async () => {
    expect(await chooseDevice('auto', finding({}), gpu)).toMatchObject({ name: 'webgpu' })
  })

  it('auto takes cpu where the GPU is software, does not work, or is not there, and says why', async () => {
    const software = await chooseDevice('auto', finding({ software: 'SwiftShader' }), gpu)
    expect(software).toEqual({ name: 'cpu', why: 'the only adapter is SwiftShader' })
    const broken = await chooseDevice('auto', finding({ ok: false, reason: 'it gave no answer' }), gpu)
    expect(broken).toEqual({ name: 'cpu', why: 'it gave no answer' })
    expect(await chooseDevice('auto', never, noGpu)).toEqual({ name: 'cpu', why: 'no GPU found' })
  })

  it('cpu is taken as asked, and nothing is tried', async () => {
    expect(await chooseDevice('cpu', never, gpu)).toEqual({ name: 'cpu', why: 'as asked' })
  })

  it('webgpu by name may be software, but has to work', async () => {
    expect(await chooseDevice('webgpu', finding({ software: 'SwiftShader' }), noGpu)).toMatchObject({ name: 'webgpu' })
    const refused = chooseDevice('webgpu', finding({ ok: false, reason: 'no driver', hint: 'Install one.' }), gpu)
    await expect(refused).rejects.toThrow(WinnowError)
    await expect(refused).rejects.toMatchObject({
      exitCode: 1,
      fault: { code: 'device-unavailable', path: '--device' },
    })
  })
})
