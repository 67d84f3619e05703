/** What the operating system knows of GPUs and their drivers, without touching them. */

import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs'

export interface GraphicsNodes {
  /** Device files of GPUs; undefined where the system has no such files (macOS, Windows). */
  nodes?: string[]
  /** Those that this user may not open. */
  forbidden: string[]
}

/** Device files of GPUs on Linux: DRM render nodes, NVIDIA's own, WSL's, and those of mobile chips. */
export function graphicsNodes(platform: NodeJS.Platform = process.platform): GraphicsNodes {
  if (platform !== 'linux') return { forbidden: [] }
  const list = (directory: string, pattern: RegExp) =>
    existsSync(directory)
      ? readdirSync(directory)
          .filter((name) => pattern.test(name))
          .map((name) => `${directory}/${name}`)
      : []
  const nodes = [...list('/dev/dri', /^renderD\d+$/), ...list('/dev', /^(nvidia\d+|dxg|kgsl-3d\d+|mali\d+)$/)]
  const forbidden = nodes.filter((node) => {
    try {
      accessSync(node, constants.R_OK | constants.W_OK)
      return false
    } catch {
      return true
    }
  })
  return { nodes, forbidden }
}

/** Names of the Vulkan drivers that are loaded in this process (Linux; elsewhere none is known). */
export function loadedDrivers(): string[] {
  try {
    const maps = readFileSync('/proc/self/maps', 'utf8')
    const files = maps.split('\n').flatMap((line) => /\/([^/\s]+\.so[^/\s]*)$/.exec(line)?.[1] ?? [])
    return [...new Set(files)].filter((file) => /vulkan_|vk_swiftshader|GLX_nvidia|nvidia-vulkan/i.test(file)).sort()
  } catch {
    return []
  }
}

/** The software renderer that a driver file belongs to. */
export function softwareRenderer(driver: string): string | undefined {
  if (/swiftshader/i.test(driver)) return 'SwiftShader'
  if (/vulkan_lvp|lavapipe|llvmpipe/i.test(driver)) return 'llvmpipe'
  return undefined
}
