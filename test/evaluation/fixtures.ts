/** Fixtures that Python's packages made (test/fixtures/evaluation). */

import { readFileSync } from 'node:fs'

export const fixture = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../fixtures/evaluation/${name}.json`, import.meta.url), 'utf8'))

export type Texts = Record<string, { hypothesis: string; references: string[] }[]>
export const texts = fixture<Texts>('texts')
