/** The version of winnow, from package.json, which lies two directories up both from src/cli and from dist/cli. */

import { readFileSync } from 'node:fs'

interface PackageFile {
  name: string
  version: string
  engines: { node: string }
}

const { name, version, engines } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
) as PackageFile

export { name, version }
/** The range of Node versions that winnow is made for. */
export const nodeRange = engines.node
/** Where a defect is reported. */
export const ISSUES = `https://www.npmjs.com/package/${name}`
