import { describe, expect, it } from 'vitest'
import { emptyDirectory, fixture, winnow } from './command.ts'

describe('help', () => {
  it('of the program names the commands, on standard output', async () => {
    const { code, stdout, stderr } = await winnow(['--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    await expect(stdout).toMatchFileSnapshot(fixture('help.txt'))
  })

  it('of select has every option, those of methods under their method', async () => {
    const { code, stdout } = await winnow(['select', '--help'])
    expect(code).toBe(0)
    await expect(stdout).toMatchFileSnapshot(fixture('select-help.txt'))
  })

  it.each([
    'score',
    'generate',
    'evaluate',
    'train',
    'warmup',
    'compare',
    'analyse',
    'ablate',
  ])('of %s has every option', async (command) => {
    const { code, stdout } = await winnow([command, '--help'])
    expect(code).toBe(0)
    await expect(stdout).toMatchFileSnapshot(fixture(`${command}-help.txt`))
  })

  it('is what the program prints alone, on standard error, as wrong usage', async () => {
    const { code, stdout, stderr } = await winnow([])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain('Usage: winnow')
  })

  it('goes beside a version', async () => {
    const { code, stdout } = await winnow(['--version'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})

describe('wrong usage ends with 2, nothing on standard output, and says what to do', () => {
  const cases: [name: string, words: string[], says: string[]][] = [
    ['an unknown command', ['selct'], ["unknown command 'selct'", 'Did you mean select?']],
    [
      'an unknown option',
      ['select', 'p.jsonl', '--bugdet', '3'],
      ["unknown option '--bugdet'", 'Did you mean --budget?'],
    ],
    ['no pool', ['select', '--budget', '3'], ['no pool was given', 'winnow select pool.jsonl --budget 30%']],
    ['no budget', ['select', 'p.jsonl'], ['at        --budget', 'winnow select p.jsonl --budget 30%']],
    ['a budget of nothing', ['select', 'p.jsonl', '-b', '0'], ['the budget selects nothing', 'found  0']],
    [
      'an option without its value',
      ['select', 'p.jsonl', '--budget'],
      ["option '-b, --budget <amount>' argument missing"],
    ],
    [
      'a signal without a name',
      ['select', 'p.jsonl', '-b', '3', '--signal', 'losses.npy'],
      ['a signal is given as its name and its file', 'found     losses.npy', 'trajectories=<file or directory>'],
    ],
    [
      'a signal twice',
      ['select', 'p.jsonl', '-b', '3', '--signal', 'trajectories=a', '--signal', 'trajectories=b'],
      ['signal trajectories is given twice', 'a and b'],
    ],
    [
      'a signal that cannot be imported',
      ['select', 'p.jsonl', '-b', '3', '--signal', 'clusters=a.npy'],
      ['signal clusters cannot be imported', 'trajectories (the loss of each row'],
    ],
    [
      'a signal that the method does not read',
      ['select', 'p.jsonl', '-b', '3', '-m', 'random', '--signal', 'trajectories=a.npy'],
      ['the method random does not read trajectories', 'such as s2l'],
    ],
    [
      'an unknown device',
      ['select', 'p.jsonl', '-b', '3', '--device', 'tpu'],
      ["'tpu' is invalid", 'auto, cpu, webgpu'],
    ],
    ['a seed that is no number', ['select', 'p.jsonl', '-b', '3', '--seed', '-1'], ['whole number of at least 0']],
    [
      'an unknown method',
      ['select', 'p.jsonl', '-b', '3', '-m', 's2k'],
      ['found     s2k', 'expected  s2l, got-d, dsir, tapt-knn'],
    ],
    [
      'a method that picks toward a target, without one',
      ['select', 'p.jsonl', '-b', '3', '-m', 'dsir'],
      ['the method dsir picks toward a target', 'at        --target', '--method dsir --target task.jsonl'],
    ],
    [
      'vectors of the pool alone',
      ['select', 'p.jsonl', '-b', '3', '-m', 'got-d', '-t', 't.jsonl', '--signal', 'embeddings=p.npy'],
      ['must come from one model', 'only embeddings=p.npy'],
    ],
    ['a pooling that is none', ['select', 'p.jsonl', '-b', '3', '--pooling', 'median'], ['--pooling', 'weighted-mean']],
    [
      "another method's option",
      ['select', 'p.jsonl', '-b', '3', '-m', 'random', '--clusters', '3'],
      ['the method random has no such option', 'an option of s2l'],
    ],
    [
      "a method option's wrong value",
      ['select', 'p.jsonl', '-b', '3', '--stratify', 'sauce'],
      ['at        --stratify', 'found     sauce', 'expected  none or source'],
    ],
    [
      'recorded losses and a proxy',
      ['select', 'p.jsonl', '-b', '3', '--proxy', 'gpt2', '--signal', 'trajectories=a.npy'],
      ['losses are imported, so no proxy is trained', 'Leave out --proxy'],
    ],
    [
      'no model to generate with',
      ['generate', 'p.jsonl'],
      ['a model to generate with was not named', 'at        --model'],
    ],
    [
      'several texts without a temperature',
      ['generate', 'p.jsonl', '--model', 'm', '--samples', '2'],
      ['one and the same', '--samples', '--temperature 1'],
    ],
    ['a nucleus of nothing', ['generate', 'p.jsonl', '--model', 'm', '--top-p', '0'], ['at        --top-p', 'above 0']],
    ['no model to evaluate', ['evaluate', 't.jsonl'], ['a model to evaluate was not named', 'at        --model']],
    [
      'BERTScore without an encoder',
      ['evaluate', 't.jsonl', '--model', 'm', '--metrics', 'bert-score'],
      ['BERTScore is told by an encoder', 'at        --bert-encoder'],
    ],
    [
      'a tolerance of a set that is not there',
      ['evaluate', 'a=t.jsonl', '--model', 'm', '--tolerance', 'b=0.04'],
      ['at        --tolerance', 'the name of a test set: a'],
    ],
    ['a tolerance in words', ['evaluate', 't.jsonl', '--model', 'm', '--tolerance', 'some'], ['a share such as 0.04']],
    ['a format of weights that is none', ['train', 'p.jsonl', '--save-as', 'int8'], ['float32, float16, bfloat16']],
    ['a rank of nothing', ['train', 'p.jsonl', '--model', 'm', '--lora', '0'], ['whole number of at least 1']],
    ['an analysis of nothing', ['analyse'], ['no run was named', 'winnow analyse pool.winnow']],
    ['an analysis of what is no run', ['analyse', 'there'], ['error: there: the directory is no run of winnow']],
    [
      'checkpoints that are none',
      ['analyse', 'there', '--checkpoints', 'middle'],
      ['at        --checkpoints', 'found     middle', 'early, late, all'],
    ],
    [
      'an ablation of nothing',
      ['ablate', 'p.jsonl', '-b', '3'],
      ['nothing to vary was named', 'at        --vary', '--vary checkpoints=3,6,12'],
    ],
    [
      'an ablation of an option that the method lacks',
      ['ablate', 'p.jsonl', '-b', '3', '--vary', 'epsilon=1'],
      ['found     epsilon', 'clusters, checkpoints,'],
    ],
    ['a missing pool', ['select', 'p.jsonl', '-b', '3'], ['error: p.jsonl: no such file']],
    ['a missing manifest', ['select', '--config', 'm.json'], ['error: m.json: the file does not exist']],
  ]
  for (const [name, words, says] of cases) {
    it.concurrent(name, async ({ onTestFinished, expect }) => {
      const { code, stdout, stderr } = await winnow(words, { cwd: emptyDirectory([], onTestFinished) })
      // Sentences are wrapped to the terminal.
      const unwrapped = stderr.replaceAll(/\n(?! )/g, ' ')
      for (const text of says) expect(unwrapped).toContain(text)
      expect(stderr).not.toMatch(/\n\s+at .*\.ts:\d+/)
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    })
  }
})

describe('with --json', () => {
  it('a missing file is one JSON object on standard output', async () => {
    const { code, stdout, stderr } = await winnow(['select', 'p.jsonl', '-b', '3', '--json'], { cwd: emptyDirectory() })
    expect(code).toBe(2)
    expect(stdout.trimEnd()).not.toContain('\n')
    expect(JSON.parse(stdout)).toEqual({
      error: expect.objectContaining({ code: 'missing-file', message: 'no such file', file: 'p.jsonl' }),
    })
    expect(stderr).toContain('error: p.jsonl: no such file')
  })

  it('wrong usage is one too', async () => {
    const { code, stdout } = await winnow(['select', 'p.jsonl', '--json', '--bugdet', '3'])
    expect(code).toBe(2)
    expect(JSON.parse(stdout)).toEqual({
      error: {
        code: 'unknown-option',
        message: "unknown option '--bugdet'",
        hint: 'Did you mean --budget? `winnow select --help` lists what there is.',
      },
    })
  })
})
