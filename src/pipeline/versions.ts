/** Versions of winnow and of what it computes with, for the manifest. */

import { readFile } from 'node:fs/promises'

export async function versions(): Promise<Record<string, string>> {
  const { name, version, dependencies } = JSON.parse(
    await readFile(new URL('../../package.json', import.meta.url), 'utf8'),
  ) as {
    name: string
    version: string
    dependencies: Record<string, string>
  }
  const used = [
    'onnxruntime-node',
    'tokenizers',
    '@huggingface/hub',
    '@huggingface/jinja',
    '@huggingface/transformers',
    '@duckdb/node-api',
    'pyodide',
  ]
  return {
    [name]: version,
    node: process.versions.node,
    ...Object.fromEntries(used.map((dependency) => [dependency, dependencies[dependency]])),
  }
}
