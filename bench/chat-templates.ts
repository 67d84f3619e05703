/**
 * Counts on which random conversations winnow and transformers disagree: token ids, assistant mask, refusals; with generation blocks in the
 * template and without them. Exits with 1 if there are any.
 *
 *     node bench/chat-templates.ts [--python path] [--count 300]       count: conversations for each template
 */

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { WinnowError } from '../src/errors.ts'
import { loadPretrainedTokenizer } from '../src/tokenizer/pretrained.ts'
import { TOKEN_MASK, type Tokenizer } from '../src/tokenizer/tokenizer.ts'
import { startPeer } from './peers/peer.ts'

interface Case {
  template: string
  messages: { role: 'user' | 'assistant' | 'system' | 'tool'; content: string }[]
  ids?: number[]
  mask?: number[]
  refused?: string
}

const fixtures = fileURLToPath(new URL('../test/fixtures/tokenizer/', import.meta.url))
const read = (name: string) => readFileSync(fixtures + name, 'utf8')
const { templates } = JSON.parse(read('chats.json'))
const json: Record<string, string> = {
  'byte-level': read('byte-level.json'),
  stories: read('stories260k/tokenizer.json'),
}
const forms = ['template', 'marked'] as const
const tokenizers = new Map<string, Tokenizer>()
for (const [name, { tokenizer, config, ...sources }] of Object.entries<Record<string, never>>(templates))
  for (const form of forms)
    tokenizers.set(
      `${name} ${form}`,
      loadPretrainedTokenizer({ json: json[tokenizer], config, chatTemplate: sources[form] }),
    )

/** What is different, or undefined. */
function difference(tokenizer: Tokenizer, { messages, ids, mask, refused }: Case): string | undefined {
  try {
    const tokens = tokenizer.encodeTurns(messages.map((turn) => ({ ...turn, trained: turn.role === 'assistant' })))
    if (refused !== undefined) return 'refused by transformers alone'
    if (tokens.some((token, i) => (token & TOKEN_MASK) !== ids?.[i]) || tokens.length !== ids?.length) return 'ids'
    return tokens.some((token, i) => token >>> 31 !== mask?.[i]) ? 'mask' : undefined
  } catch (error) {
    if (!(error instanceof WinnowError)) throw error
    return error.fault.code === 'chat-template' && error.fault.found === refused ? undefined : error.fault.code
  }
}

const { values: options } = parseArgs({
  options: { python: { type: 'string', default: 'python3' }, count: { type: 'string', default: '300' } },
})
const count = Number(options.count)
const peer = await startPeer(options.python, 'chat_templates_hf.py', { fixtures })
console.log(`transformers ${peer.ready.transformers}, jinja2 ${peer.ready.jinja2}`)
const table: Record<string, Record<string, number>> = {}
for (let seed = 0; seed * 50 < count; seed++) {
  const cases: Case[] = await peer.ask({ seed, count: Math.min(50, count - seed * 50) })
  for (const known of cases)
    for (const form of forms) {
      const name = `${known.template} ${form}`
      table[name] ??= { conversations: 0, refused: 0, different: 0 }
      table[name].conversations++
      if (known.refused !== undefined) table[name].refused++
      const found = difference(tokenizers.get(name)!, known)
      if (found === undefined) continue
      table[name].different++
      console.log(`${name}: ${found}\n  ${JSON.stringify(known.messages)}`)
    }
}
peer.end()
console.table(table)
if (Object.values(table).some(({ different }) => different > 0)) process.exitCode = 1
