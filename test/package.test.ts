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

  it('locks every package to the public registry or to none', () => {
    const lock = JSON.parse(readFileSync(root('package-lock.json'), 'utf8'))
    for (const [name, { resolved }] of Object.entries(lock.packages as Record<string, { resolved?: string }>)) {
      if (resolved !== undefined) expect(resolved, name).toMatch(/^https:\/\/registry\.npmjs\.org\//)
    }
  })
})
