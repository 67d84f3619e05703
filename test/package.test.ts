import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url))
const manifest = JSON.parse(readFileSync(root('package.json'), 'utf8'))

describe('package.json', () => {
  it('names the command twice, so that npx finds it by the package name', () => {
    expect(manifest.name).toBe('winnow-llm')
    expect(manifest.bin).toEqual({ winnow: 'dist/cli/main.js', 'winnow-llm': 'dist/cli/main.js' })
  })

  it('pins every dependency', () => {
    for (const [name, version] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) {
      expect(version, name).toMatch(/^\d+\.\d+\.\d+(-[\w.]+)?$/)
    }
  })

  it('lists files that are there', () => {
    for (const file of manifest.files.filter((name: string) => name !== 'dist'))
      expect(existsSync(root(file)), file).toBe(true)
  })

  it('locks contents, not download addresses, so that any registry serves', () => {
    const { packages } = JSON.parse(readFileSync(root('package-lock.json'), 'utf8')) as {
      packages: Record<string, { resolved?: string; integrity?: string }>
    }
    for (const [name, { resolved, integrity }] of Object.entries(packages)) {
      if (name === '') continue
      expect(resolved, name).toBeUndefined()
      expect(integrity, name).toMatch(/^sha512-/)
    }
  })
})
