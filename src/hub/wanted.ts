/** What of a repository is fetched for one use of a model: its texts alone, or with the weights. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { TEMPLATE_FOLDER } from './chat-templates.ts'
import { TEXT_FILES, WEIGHT_INDEX_FILE, WEIGHTS_FILE } from './directory.ts'
import { maybeText } from './json-files.ts'
import { planShards, planTexts, planWeights, type RepositoryFile } from './listing.ts'
import { parseWeightIndex } from './weights.ts'

export interface Wanted {
  /** Whether a folder at the root is listed too. */
  folder(path: string): boolean
  /** Files taken where they are there; that one is not is remembered in the cache. */
  files: readonly string[]
  /** Those of them without which a cached commit is of no use. */
  needed: readonly string[]
  /** What else a snapshot lacks, `has` telling what it holds. Asks nobody. */
  lacking(directory: string, has: (file: string) => Promise<boolean>): Promise<string[]>
  /** Files to fetch. Pure. */
  plan(id: string, listing: readonly RepositoryFile[]): RepositoryFile[]
  /** Files that only the fetched ones name. */
  further?(directory: string, id: string, listing: readonly RepositoryFile[]): Promise<RepositoryFile[]>
}

/** The small files of a model, for its tokenizer or its shape. */
export const TEXTS: Wanted = {
  folder: (path) => path === TEMPLATE_FOLDER,
  files: TEXT_FILES,
  needed: ['tokenizer.json'],
  lacking: async () => [],
  plan: planTexts,
}

/** A model whole: small files and safetensors, in one file or in shards. */
export const MODEL: Wanted = {
  ...TEXTS,
  needed: ['config.json'],
  async lacking(directory, has) {
    if (await has(WEIGHTS_FILE)) return []
    const index = join(directory, WEIGHT_INDEX_FILE)
    const text = await readFile(index, 'utf8').catch(() => undefined)
    if (text === undefined) return [WEIGHTS_FILE]
    const lacking: string[] = []
    for (const shard of new Set(parseWeightIndex(text, index).values())) if (!(await has(shard))) lacking.push(shard)
    return lacking
  },
  plan: (id, listing) => [...planTexts(id, listing), planWeights(id, listing)],
  async further(directory, id, listing) {
    if (planWeights(id, listing).path !== WEIGHT_INDEX_FILE) return []
    const index = join(directory, WEIGHT_INDEX_FILE)
    return planShards(id, listing, parseWeightIndex((await maybeText(index)) as string, index).values())
  },
}
