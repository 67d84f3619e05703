import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Turn } from '../../src/dataset/record.ts'
import { type ChatMessage, chatTemplate, TEMPLATE_DATE, TemplateRefusal } from '../../src/tokenizer/chat-template.ts'
import { loadPretrainedTokenizer } from '../../src/tokenizer/pretrained.ts'
import type { TokenizerConfig } from '../../src/tokenizer/special-tokens.ts'
import { TOKEN_MASK, type Tokenizer, TRAINED_BIT } from '../../src/tokenizer/tokenizer.ts'

const fixture = (name: string) => readFileSync(new URL(`../fixtures/tokenizer/${name}`, import.meta.url), 'utf8')
const tokenizerJson: Record<string, string> = {
  'byte-level': fixture('byte-level.json'),
  stories: fixture('stories260k/tokenizer.json'),
}

interface Chats {
  templates: Record<string, { tokenizer: string; template: string; marked: string; config: TokenizerConfig }>
  conversations: Record<string, ChatMessage[]>
  cases: { template: string; conversation: string; ids?: number[]; mask?: [number, number][]; refused?: string }[]
}
const chats: Chats = JSON.parse(fixture('chats.json'))

const loaded = new Map<string, Tokenizer>()
function tokenizerOf(name: string, form: 'template' | 'marked'): Tokenizer {
  const key = `${name} ${form}`
  const { tokenizer, config, ...sources } = chats.templates[name]
  const known =
    loaded.get(key) ?? loadPretrainedTokenizer({ json: tokenizerJson[tokenizer], config, chatTemplate: sources[form] })
  loaded.set(key, known)
  return known
}

const turnsOf = (messages: readonly ChatMessage[]): Turn[] =>
  messages.map(({ role, content }) => ({ role: role as Turn['role'], content, trained: role === 'assistant' }))

const idsOf = (tokens: Uint32Array) => Array.from(tokens, (token) => token & TOKEN_MASK)

function runsOf(tokens: Uint32Array): [number, number][] {
  const runs: [number, number][] = []
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i] < TRAINED_BIT) continue
    if (i > 0 && tokens[i - 1] >= TRAINED_BIT) runs.at(-1)![1] = i + 1
    else runs.push([i, i + 1])
  }
  return runs
}

describe.each(Object.keys(chats.templates))('the template %s', (name) => {
  const cases = chats.cases.filter(({ template }) => template === name)
  const good = cases.filter(({ ids }) => ids !== undefined)

  it.each(good)('gives the ids and, by its generation blocks, the mask of transformers: $conversation', (known) => {
    const tokens = tokenizerOf(name, 'marked').encodeTurns(turnsOf(chats.conversations[known.conversation]))
    expect(idsOf(tokens)).toEqual(known.ids)
    expect(runsOf(tokens)).toEqual(known.mask)
  })

  it.each(good)('gives the same without generation blocks: $conversation', (known) => {
    const tokens = tokenizerOf(name, 'template').encodeTurns(turnsOf(chats.conversations[known.conversation]))
    expect(idsOf(tokens)).toEqual(known.ids)
    expect(runsOf(tokens)).toEqual(known.mask)
  })

  const refused = cases.filter((known) => known.refused !== undefined)
  if (refused.length > 0)
    it.each(refused)('refuses in its own words: $conversation', (known) => {
      const turns = turnsOf(chats.conversations[known.conversation])
      expect(() => tokenizerOf(name, 'template').encodeTurns(turns, { file: 'pool.jsonl', line: 7 })).toThrow(
        expect.objectContaining({
          fault: expect.objectContaining({ code: 'chat-template', found: known.refused, file: 'pool.jsonl', line: 7 }),
        }),
      )
    })
})

describe('the language of templates', () => {
  const render = (source: string, date?: string) => chatTemplate(source, { date }).render([])

  it('has the date it is told, whatever the day', () => {
    expect(render("{{ strftime_now('%d %b %Y') }}")).toBe('26 Jul 2024')
    expect(render("{{ strftime_now('%A, %B %-d, %y (%j)') }}", '2026-01-05')).toBe('Monday, January 5, 26 (005)')
    expect(TEMPLATE_DATE).toBe('2024-07-26')
  })

  it("strips as Python's strings do", () => {
    expect(render("[{{ '\\n\\n  a \\n'.strip('\\n') }}]")).toBe('[  a ]')
    expect(render("[{{ 'xxaxx'.lstrip('x') + 'xxaxx'.rstrip('x') }}]")).toBe('[axxxxa]')
    expect(render("[{{ ('  a ' + '\\ufeff') | trim }}]")).toBe('[a \ufeff]')
    expect(render('[{{ missing | trim }}]')).toBe('[]')
  })

  it('counts no further than the sandbox of transformers', () => {
    expect(render('{{ range(100000) | length }}')).toBe('100000')
    for (const range of ['range(100001)', 'range(0, 9000000000000000)', 'range(100001, 0, -1)'])
      expect(() => render(`{% for i in ${range} %}{% endfor %}`)).toThrow(TemplateRefusal)
  })

  it('refuses a template that cannot be parsed', () => {
    expect(() => chatTemplate('{% for %}', { file: 'chat_template.jinja' })).toThrow(
      expect.objectContaining({ fault: expect.objectContaining({ code: 'bad-chat-template' }) }),
    )
  })
})
