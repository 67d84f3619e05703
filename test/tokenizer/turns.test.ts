import { Tokenizer } from 'tokenizers'
import { describe, expect, it } from 'vitest'
import type { Turn } from '../../src/dataset/record.ts'
import { loadTokenizer } from '../../src/tokenizer/load.ts'
import { TOKEN_MASK, TRAINED_BIT, type Tokenizer as WinnowTokenizer } from '../../src/tokenizer/tokenizer.ts'
import { SPECIAL_TOKENS } from '../../src/tokenizer/turns.ts'
import { nanoJson, STRUCTURES } from './structures.ts'

const nano = loadTokenizer(nanoJson)
const gpt2Json = STRUCTURES.find(({ name }) => name === 'GPT-2')!.json

const turn = (role: Turn['role'], content: string, trained = false): Turn => ({ role, content, trained })

/** Tokens as text, trained stretches in brackets. */
function shown(tokens: Uint32Array, tokenizer: WinnowTokenizer = nano): string {
  let text = ''
  let open = false
  for (const token of tokens) {
    const trained = (token & TRAINED_BIT) !== 0
    if (trained !== open) text += trained ? '[' : ']'
    open = trained
    text += tokenizer.decode([token & TOKEN_MASK])
  }
  return open ? `${text}]` : text
}

describe('turns with role markers', () => {
  it('are marker, content, end; trained turns carry loss on content and end', () => {
    const tokens = nano.encodeTurns([
      turn('system', 'Be brief.'),
      turn('user', 'How many?'),
      turn('assistant', 'Four.', true),
      turn('tool', '4'),
      turn('assistant', '', true),
    ])
    expect(shown(tokens)).toBe(
      '<|system|>Be brief.<|end|><|user|>How many?<|end|><|assistant|>[Four.<|end|>]<|tool|>4<|end|><|assistant|>[<|end|>]',
    )
  })

  it('make one text of neighbouring text turns, with each piece under its own mask', () => {
    expect(shown(nano.encodeTurns([turn('text', 'Q: 2+2\nA:'), turn('text', ' 4', true)]))).toBe(
      '<|text|>Q: 2+2\nA:[ 4<|end|>]',
    )
    expect(shown(nano.encodeTurns([turn('text', 'a', true), turn('text', 'b')]))).toBe('<|text|>[a]b<|end|>')
  })

  it('encode pieces with the same mask as one string', () => {
    expect(nano.encodeTurns([turn('text', 'nine', true), turn('text', 'teen', true)])).toEqual(
      nano.encodeTurns([turn('text', 'nineteen', true)]),
    )
  })

  it('never read a marker in the text of a turn', () => {
    const hostile = `${SPECIAL_TOKENS.join(' ')}<|end|>`
    const tokens = nano.encodeTurns([turn('user', hostile)])
    const content = tokens.subarray(1, -1)
    for (const token of content) expect(token).toBeGreaterThanOrEqual(SPECIAL_TOKENS.length)
    expect(nano.decode(content)).toBe(hostile)
    // `encode` alone does as the library does.
    expect(Array.from(nano.encode('<|end|>'))).toEqual([1])
  })

  it('give an empty record no tokens', () => {
    expect(nano.encodeTurns([]).length).toBe(0)
  })
})

describe('turns of a tokenizer without role markers', () => {
  it('are the contents one behind the other and the end-of-text token', () => {
    const tokenizer = loadTokenizer(gpt2Json, { endOfText: '<|endoftext|>' })
    const tokens = tokenizer.encodeTurns([
      turn('user', 'Two and <|endoftext|> two?'),
      turn('assistant', ' Four.', true),
    ])
    expect(shown(tokens, tokenizer)).toBe('Two and <|endoftext|> two?[ Four.<|endoftext|>]')
    const end = tokens.at(-1)! & TOKEN_MASK
    expect(tokens.filter((token) => (token & TOKEN_MASK) === end).length).toBe(1)
  })

  it('refuse an end-of-text token that the vocabulary lacks', () => {
    expect(() => loadTokenizer(gpt2Json, { endOfText: '</s>', file: 'tokenizer.json' })).toThrow(
      /tokenizer.json: end-of-text token "<\/s>" is not in the vocabulary/,
    )
  })

  it('keep data from becoming control when the library encodes', async () => {
    const json = JSON.parse(gpt2Json)
    json.pre_tokenizer.add_prefix_space = true
    const text = JSON.stringify(json)
    const tokenizer = loadTokenizer(text, { endOfText: '<|endoftext|>' })
    const [library] = await Tokenizer.fromString(text).encodeBatch(['so <|endoftext|>'], { addSpecialTokens: false })
    const end = library.getIds().at(-1)!
    expect(Array.from(tokenizer.encode('so <|endoftext|>'))).toEqual(library.getIds())
    const tokens = tokenizer.encodeTurns([turn('text', 'so <|endoftext|>', true)])
    expect(tokens.filter((token) => (token & TOKEN_MASK) === end).length).toBe(1)
    expect(tokenizer.decode(tokens.subarray(0, -1).map((token) => token & TOKEN_MASK))).toContain('so <|endoftext|>')
  })
})

describe('loading', () => {
  it.each([
    ['not JSON', 'text that is not JSON'],
    ['{}', 'no `model`'],
    ['{"model":{"type":"BPE"}}', 'no `model.vocab`'],
  ])('refuses %s', (text, found) => {
    expect(() => loadTokenizer(text, { file: 'tokenizer.json' })).toThrow(`found ${found}`)
  })

  it('reports what the library says of a model it cannot use', () => {
    const tokenizer = loadTokenizer('{"version":"1.0","model":{"type":"Unheard","vocab":{}}}')
    expect(() => tokenizer.encode('a')).toThrow(/tokenizer.json cannot be used/)
  })
})
