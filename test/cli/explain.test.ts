import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { renderExplanation } from '../../src/cli/explain.ts'
import { type Explanation, type TokenPiece, tokenPieces } from '../../src/pipeline/explain.ts'
import { tinyModel } from '../pipeline/models.ts'
import { emptyDirectory, fixture, winnow } from './command.ts'
import { screen } from './screen.ts'

const tokenizers = fileURLToPath(new URL('../fixtures/tokenizer/', import.meta.url))

/** A directory with `pool.jsonl` and stories260K's tokenizer as the model `stories`. */
function withModel(rows: unknown[], config: Record<string, unknown> = { vocab_size: 512 }): string {
  const cwd = emptyDirectory()
  writeFileSync(join(cwd, 'pool.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
  cpSync(join(tokenizers, 'stories260k'), join(cwd, 'stories'), { recursive: true })
  writeFileSync(join(cwd, 'stories/config.json'), JSON.stringify(config))
  return cwd
}

const story = { question: 'Who said\tyes?', answer: 'Lily said\nyes. \u001b[31m' }

describe('explain', () => {
  it('shows where a row is and its turns', async () => {
    const { code, stdout, stderr } = await winnow(['explain', 'math.jsonl', '--row', '3'], {
      cwd: emptyDirectory(['math.jsonl']),
    })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^row 3: math.jsonl:4\n {2}format +question-answer\n {2}source +gsm8k\n\nuser\n {2}\w/)
    expect(stdout).toContain('\nassistant (trained)\n  ')
  })

  it('shows whether a run picked the row and by what numbers, and nothing of a run of another pool', async () => {
    const cwd = emptyDirectory(['math.jsonl'])
    expect((await winnow(['select', 'math.jsonl', '--method', 'longest', '--budget', '3'], { cwd })).code).toBe(0)
    const rows = readFileSync(join(cwd, 'math.jsonl'), 'utf8').trimEnd().split('\n')
    const picked = readFileSync(join(cwd, 'math.selected.jsonl'), 'utf8').trimEnd().split('\n')
    const [first, other] = [rows.indexOf(picked[0]), rows.findIndex((line) => !picked.includes(line))]
    const shown = async (row: number) => (await winnow(['explain', 'math.jsonl', '--row', String(row)], { cwd })).stdout
    expect(await shown(first)).toMatch(
      /\n {2}selection +picked by longest for 3, in math.winnow\n(?:.*\n)* {2}length +\d+\n/,
    )
    expect(await shown(other)).toMatch(/\n {2}selection +not picked by longest/)
    const json = JSON.parse((await winnow(['explain', 'math.jsonl', '--row', String(first), '--json'], { cwd })).stdout)
    const { length, trained_tokens } = json.selection.columns
    expect(length).toBe(trained_tokens)
    writeFileSync(join(cwd, 'math.jsonl'), `${rows.slice(1).join('\n')}\n`)
    expect(await shown(0)).not.toContain('selection')
  })

  it("shows a model's tokens, the trained ones in brackets, white space to be seen, nothing that a terminal obeys", async () => {
    const { code, stdout, stderr } = await winnow(
      ['explain', 'pool.jsonl', '--row', '0', '--tokens', '--proxy', 'stories'],
      { cwd: withModel([story]) },
    )
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    await expect(stdout).toMatchFileSnapshot(fixture('explain.txt'))
    expect(stdout).not.toContain('\u001b')
  })

  it('--json has the ids, the texts of the tokens and their mask', async () => {
    const cwd = withModel([story])
    const words = [
      'explain',
      'pool.jsonl',
      '--row',
      '0',
      '--tokens',
      '--proxy',
      'stories',
      '--max-length',
      '12',
      '--json',
    ]
    const { tokens, ...row } = JSON.parse((await winnow(words, { cwd })).stdout)
    expect(row).toEqual({
      ...{ row: 0, file: 'pool.jsonl', line: 1, format: 'question-answer' },
      turns: [
        { role: 'user', content: story.question, trained: false },
        { role: 'assistant', content: story.answer, trained: true },
      ],
    })
    const pieces: TokenPiece[] = tokens.pieces
    expect(tokens.tokenizer).toMatchObject({ kind: 'model', name: 'stories', layout: 'plain', vocabularySize: 512 })
    expect(pieces[0]).toEqual({ ids: [1], text: '<s>', trained: false, cut: false })
    expect(pieces.at(-1)).toEqual({ ids: [2], text: '</s>', trained: true, cut: true })
    const count = (list: TokenPiece[]) => list.reduce((total, { ids }) => total + ids.length, 0)
    expect(tokens).toMatchObject({
      ...{ maxLength: 12, count: count(pieces), trained: count(pieces.filter(({ trained }) => trained)) },
      kept: { count: 12, trained: count(pieces.filter(({ trained, cut }) => trained && !cut)) },
    })
    const text = (list: TokenPiece[]) => list.map((piece) => piece.text).join('')
    expect(text(pieces.filter(({ trained }) => trained))).toBe(`${story.answer}</s>`)
    expect(text(pieces)).toBe(`<s> ${story.question}\n\n${story.answer}</s>`)
  })

  it("uses a run's tokenizer and length where there is one, else the tokenizer that select would train", async () => {
    const cwd = emptyDirectory(['math.jsonl'])
    const explain = async () => {
      const { stdout } = await winnow(['explain', 'math.jsonl', '--row', '5', '--tokens', '--json'], { cwd })
      return JSON.parse(stdout).tokens
    }
    const before = await explain()
    expect(before.tokenizer).toMatchObject({ kind: 'pool', name: 'math.jsonl', layout: 'markers' })
    await winnow(['select', 'math.jsonl', '--budget', '12', '--method', 'random', '--max-length', '40'], { cwd })
    const after = await explain()
    expect(after.tokenizer).toEqual({ ...before.tokenizer, kind: 'run', name: 'math.winnow' })
    expect(after.pieces.map(({ ids }: TokenPiece) => ids)).toEqual(before.pieces.map(({ ids }: TokenPiece) => ids))
    expect(after).toMatchObject({ maxLength: 40, kept: { count: 40 } })
    expect(before.maxLength).toBe(512)
    // A run of a pretrained proxy has that model's tokens.
    cpSync(join(tokenizers, 'stories260k'), join(cwd, 'stories'), { recursive: true })
    const manifest = join(cwd, 'math.winnow/manifest.json')
    const { config, ...rest } = JSON.parse(readFileSync(manifest, 'utf8'))
    writeFileSync(manifest, JSON.stringify({ ...rest, config: { ...config, proxy: 'stories' } }))
    const { tokenizer, maxLength } = await explain()
    expect(tokenizer).toMatchObject({ kind: 'model', name: 'stories', vocabularySize: 512 })
    expect(maxLength).toBe(40)
  })

  it("cuts where a model's positions end, unless told otherwise", async () => {
    const cwd = emptyDirectory()
    writeFileSync(join(cwd, 'pool.jsonl'), `${JSON.stringify(story)}\n`)
    tinyModel(join(cwd, 'tiny'), { config: { max_position_embeddings: 12 } })
    const words = ['explain', 'pool.jsonl', '--row', '0', '--tokens', '--json', '--proxy', 'tiny']
    const lengthOf = async (...more: string[]) => {
      const { maxLength, kept } = JSON.parse((await winnow([...words, ...more], { cwd })).stdout).tokens
      return [maxLength, kept.count]
    }
    expect(await Promise.all([lengthOf(), lengthOf('--max-length', '20')])).toEqual([
      [12, 12],
      [20, 20],
    ])
  })

  it('names the row that a chat template refuses', async () => {
    const messages = [{ role: 'assistant', content: 'first' }]
    const cwd = withModel([{ messages: [{ role: 'user', content: 'a' }, ...messages] }, { messages }])
    const template = "{% if messages[0].role != 'user' %}{{ raise_exception('A user has to begin') }}{% endif %}"
    writeFileSync(join(cwd, 'stories/chat_template.jinja'), template)
    const { code, stdout, stderr } = await winnow(
      ['explain', 'pool.jsonl', '--row', '1', '--tokens', '--proxy', 'stories'],
      { cwd },
    )
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain('error: pool.jsonl:2: the chat template refuses the record')
    expect(stderr).toContain('found     A user has to begin')
  })

  it('refuses a tokenizer that does not fit the model, and a model without one', async () => {
    const words = ['explain', 'pool.jsonl', '--row', '0', '--tokens', '--proxy']
    const cwd = withModel([story], { vocab_size: 500 })
    mkdirSync(join(cwd, 'bare'))
    const [unfit, bare] = await Promise.all(['stories', 'bare'].map((model) => winnow([...words, model], { cwd })))
    expect(unfit.stderr).toContain('found     512 ids, 500 rows')
    expect(bare.stderr).toContain('error: bare: the model has no tokenizer.json')
    expect([unfit.code, bare.code]).toEqual([2, 2])
  })

  it.each([
    ['no row', ['math.jsonl'], ['at        --row', 'winnow explain math.jsonl --row 0 --tokens']],
    ['no pool', ['--row', '3'], ['no pool was given']],
    ['a row behind the last', ['math.jsonl', '--row', '60'], ['found     60', '0 to 59']],
    ['a row that is no number', ['math.jsonl', '--row', '-1'], ['whole number of at least 0']],
  ])('is wrong usage with %s', async (_, words, says) => {
    const { code, stdout, stderr } = await winnow(['explain', ...words], { cwd: emptyDirectory(['math.jsonl']) })
    for (const text of says) expect(stderr.replaceAll(/\n(?! )/g, ' ')).toContain(text)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  })
})

describe('the drawing of tokens', () => {
  const piece = (text: string, trained = false, cut = false): TokenPiece => ({ ids: [7], text, trained, cut })
  const explanation = (pieces: TokenPiece[]): Explanation => ({
    ...{ row: 0, file: 'p.jsonl', line: 1, format: 'text', turns: [] },
    tokens: {
      tokenizer: { kind: 'model', name: 'm', layout: 'template', vocabularySize: 9, hash: '' },
      ...{ maxLength: 3, count: pieces.length, trained: 2, kept: { count: 3, trained: 1 }, pieces },
    },
  })
  const pieces = [piece('a'), piece(' b'), piece('c\n', true), piece(' d', true, true), piece('e', false, true)]

  it('asks a tokenizer once for what a row repeats', () => {
    const asked: string[] = []
    const decode = (ids: ArrayLike<number>) => {
      asked.push(Array.from(ids).join(' '))
      return String.fromCodePoint(...Array.from(ids))
    }
    const encode = (text: string) => Uint32Array.from(text, (character) => character.codePointAt(0)!)
    const shown = tokenPieces(encode('ababab'), { encode, decode }, 4)
    expect(shown.map(({ text }) => text)).toEqual(['a', 'b', 'a', 'b', 'a', 'b'])
    expect(shown.map(({ cut }) => cut)).toEqual([false, false, false, false, true, true])
    expect(new Set(asked).size).toBe(asked.length)
  })

  it('puts brackets around trained stretches, also where the row is cut', () => {
    expect(renderExplanation(explanation(pieces), screen({}))).toContain(
      '\na|·b[c↵\n]\n--- cut here: what follows is never seen ---\n[·d]e\n',
    )
  })

  it('shows trained tokens by colour where there are colours', () => {
    const colours = { ...screen({}), style: (format: unknown, text: string) => `<${format}>${text}</>` }
    const drawn = renderExplanation(explanation(pieces), colours)
    expect(drawn).toContain('<dim>a</><dim>|</><dim>·b</><dim>|</><green,underline>c↵</>\n')
    expect(drawn).not.toContain('[')
  })

  it('does with ASCII where that is all there is', () => {
    expect(renderExplanation(explanation([piece(' x\t\n')]), screen({ unicode: false }))).toContain('\n_x\\t\\n\n')
  })
})
