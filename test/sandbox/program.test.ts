import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openProgramRunner, type ProgramRunner } from '../../src/sandbox/program.ts'

let runner: ProgramRunner
let directory: string
beforeAll(async () => {
  runner = await openProgramRunner({ memoryBytes: 2 ** 28, processes: 2, seconds: 60 })
  directory = mkdtempSync(join(tmpdir(), 'winnow-sandbox-'))
  writeFileSync(join(directory, 'secret'), 'secret')
})
afterAll(async () => {
  await runner[Symbol.asyncDispose]()
  rmSync(directory, { recursive: true })
})

/** Programs that report on each attempt: what it gave, or `!` and the exception. */
const attempts = (lines: Record<string, string>, before = '') =>
  [
    'import gc, os, sys',
    before,
    'def attempt(name, work):',
    '    try: print(name, repr(work())[:200])',
    '    except BaseException as error: print(name, "!", type(error).__name__, str(error)[:200].replace("\\n", " "))',
    ...Object.entries(lines).map(([name, expression]) => `attempt(${JSON.stringify(name)}, lambda: ${expression})`),
  ].join('\n')

async function told(source: string): Promise<Record<string, string>> {
  const { output = '', fault, message } = await runner.run(source)
  expect(fault, message).toBeUndefined()
  return Object.fromEntries(
    output
      .trimEnd()
      .split('\n')
      .map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)]),
  )
}

describe('a program', () => {
  it('gives what it prints', async () => {
    const source = [
      'import math',
      'from fractions import Fraction',
      'def answer(n):',
      '    return sum(Fraction(1, k) for k in range(1, n + 1))',
      'if __name__ == "__main__":',
      '    print(answer(4), [math.comb(5, k) for k in range(3)], "é")',
    ].join('\n')
    expect(await runner.run(source)).toEqual({ output: '25/12 [1, 5, 10] é\n' })
  })

  it.each([
    ['an exception', 'print(1)\nprint(1 / 0)', 'error', /ZeroDivisionError/],
    ['a module that is not there', 'import sympy', 'error', /imports 'sympy'.*only Python's own modules/],
    ['an exit status', 'raise SystemExit(3)', 'error', /ended itself with 3/],
    [
      'a stack beyond the interpreter',
      'import sys\nsys.setrecursionlimit(10**9)\ndef f(n): return f(n + 1) + 1\nf(0)',
      'error',
      /interpreter|Recursion/,
    ],
    ['a text of 10^10 letters', "x = 'x' * 10**10", 'memory', /more memory/],
    ['a list that grows', 'a = []\nwhile True: a.append("x" * 10**6)', 'memory', /more memory/],
    ['JavaScript', 'import js', 'forbidden', /imports 'js'/],
    ['the network', 'import urllib.request', 'forbidden', /socket/],
  ])('with %s has a fault', async (_, source, fault, message) => {
    const result = await runner.run(source)
    expect(result.fault).toBe(fault)
    expect(result.message).toMatch(message)
  })

  it('is over with exit status 0, and keeps what it printed before', async () => {
    expect(await runner.run('print(2)\nimport sys\nsys.exit()')).toEqual({ output: '2\n' })
  })

  it('that prints without measure is cut, and said to be', async () => {
    const { output, fault, message } = await runner.run('for i in range(50): print("x" * 9999)')
    expect(output).toHaveLength(65_536)
    expect(fault).toBeUndefined()
    expect(message).toMatch(/printed 500000 bytes/)
  })

  it('leaves nothing to the next', async () => {
    const spoil = 'import builtins, math\nbuiltins.print = None\nmath.pi = 3\nopen("/tmp/left", "w").write("x")\nx = 1'
    expect((await runner.run(spoil)).fault).toBeUndefined()
    const next = await runner.run('import os, math\nprint(math.pi, os.path.exists("/tmp/left"), "x" in globals())')
    expect(next).toEqual({ output: `${Math.PI} False False\n` })
  })

  it('draws the same numbers again', async () => {
    const source = 'import random, os\nprint(random.random(), os.urandom(4).hex(), hash("a"), {"a", "b", "c"})'
    expect(await runner.run(source)).toEqual(await runner.run(source))
  })
})

describe('the walls', () => {
  it('show nothing of the host, and let nothing out', async () => {
    const secret = JSON.stringify(join(directory, 'secret'))
    const found = await told(
      attempts({
        passwd: 'open("/etc/passwd").read()',
        secret: `open(${secret}).read()`,
        root: 'sorted(os.listdir("/"))',
        environment: 'dict(os.environ)',
        write: `open(${secret} + "2", "w").write("x")`,
        shell: 'os.system("true")',
        exec: 'os.execv("/bin/sh", ["sh"])',
        foreign: '__import__("ctypes")',
        host: '__import__("pyodide").code',
        question: 'input()',
        recursion: '(lambda f: f(f))(lambda f: f(f))',
      }),
    )
    expect(found.passwd).toMatch(/^! FileNotFoundError/)
    expect(found.secret).toMatch(/^! FileNotFoundError/)
    expect(found.write).toMatch(/^! FileNotFoundError/)
    expect(found.root).not.toMatch(/work|usr|etc|Users/)
    expect(found.environment).toMatch(/program/)
    expect(found.environment).not.toMatch(/usr|bin|src|npm|\.ts/)
    for (const name of ['shell', 'exec', 'foreign', 'host']) expect(found[name]).toMatch(/^! Forbidden .*sandbox/)
    expect(found.question).toMatch(/^! (OSError|EOFError)/)
    expect(found.recursion).toMatch(/^! RecursionError/)
  })

  it('hold where guarded modules are loaded behind the guard', async () => {
    const before = `
import _imp
from importlib.machinery import BuiltinImporter, ModuleSpec
outward = ['_ctypes', '_socket', '_posixsubprocess', '_testcapi', '_testinternalcapi']
def builtin(name):
    module = _imp.create_builtin(ModuleSpec(name, None))
    _imp.exec_builtin(module)
    return module
`
    const found = await told(
      attempts(
        {
          found: '[BuiltinImporter.find_spec(name) for name in [*outward, "_pyodide_core"]]',
          made: '[builtin(name) for name in outward]',
          listed: '[name for name in outward if name in sys.builtin_module_names]',
          stays: 'builtin("_bisect").bisect_left([1, 3], 2)',
          core: 'builtin("_pyodide_core").run_js',
          eval: '[c for c in object.__subclasses__() if c.__name__ == "CodeRunner"][0]("1").compile().run() and sys.modules["js"]',
        },
        before,
      ),
    )
    expect(found).toMatchObject({
      found: `[${Array(6).fill('None').join(', ')}]`,
      made: `[${Array(5).fill('None').join(', ')}]`,
      listed: '[]',
      stays: '1',
      core: expect.stringMatching(/^! /),
      eval: expect.stringMatching(/^! /),
    })
    const mark = join(directory, 'mark')
    await runner.run(`import posix, importlib\nimportlib.reload(posix)\nposix.system("touch ${mark}")`)
    expect(existsSync(mark)).toBe(false)
  })

  it('hold where JavaScript, and C by way of it, is reached through the garbage collector', async () => {
    const mark = join(directory, 'shell')
    const before = `
def reach():
    seen, found, todo = set(), [], gc.get_objects()
    while todo:
        o = todo.pop()
        if id(o) not in seen:
            seen.add(id(o))
            if any(c.__name__ == 'JsProxy' for c in type(o).__mro__): found.append(o)
            todo.extend(gc.get_referents(o))
    return found
proxies = reach()
def of(name): return next(p for p in proxies if hasattr(p, name))
def mount(root):
    fs = of('FS').FS
    fs.mkdir('/home/host')
    fs.mount(fs.filesystems.NODEFS, of('FS').globals and {'root': root}, '/home/host')
    return os.listdir('/home/host')
language = proxies[0].constructor
c = of('_module')._module
def bytes_at(value):
    address = c._malloc(len(value))
    c.HEAPU8.subarray(address, address + len(value)).assign(value)
    return address
def connect():
    socket = c._socket(2, 1, 0)
    print('socket', socket, flush=True)
    c._connect(socket, bytes_at(bytes([2, 0, 0, 9, 127, 0, 0, 1]) + bytes(8)), 16)
    return c._send(socket, bytes_at(b'x'), 1, 0)
`
    const found = await told(
      attempts(
        {
          reached: 'len(proxies) > 0',
          code: 'language("return 1")()',
          asynchronous: 'language.constructor("return import(\'node:fs\')")()',
          script: 'c._emscripten_run_script(bytes_at(b"globalThis.x = 1\\0"))',
          shell: `c._system(bytes_at(b"touch ${mark}\\0"))`,
          files: `of('FS').mountNodeFS('/home/there', ${JSON.stringify(directory)}) or os.listdir('/home/there')`,
          mount: `mount(${JSON.stringify(directory)})`,
        },
        before,
      ),
    )
    // If this fails Pyodide keeps its proxies elsewhere: look for them, for the rest of this test has reached nothing.
    expect(found.reached).toBe('True')
    for (const name of ['code', 'asynchronous']) expect(found[name]).toMatch(/Code generation from strings disallowed/)
    expect(found.script).toMatch(/^! .*eval is not defined/)
    for (const name of ['files', 'mount']) expect(found[name]).toMatch(/^! /)
    expect(existsSync(mark)).toBe(false)
    // A socket ends at best in an exception of JavaScript, which may end the interpreter.
    const { output = '' } = await runner.run(attempts({ connect: 'connect()' }, before))
    expect(output).toMatch(/^socket \d/m)
    expect(output).not.toMatch(/^connect \d/m)
  })

  it('leave JavaScript no global but its own, and nothing in process to call', () => {
    const file = new URL('../../src/sandbox/bare-globals.ts', import.meta.url).href
    const script = `
      import { writeSync } from 'node:fs'
      const { process } = globalThis
      const exit = process.reallyExit.bind(process)
      const { bareGlobals } = await import(${JSON.stringify(file)})
      bareGlobals()
      const names = ['process', 'require', 'fetch', 'WebSocket', 'XMLHttpRequest', 'WebAssembly', 'Buffer', 'setTimeout', 'navigator', 'global']
      const left = names.filter((name) => globalThis[name] !== undefined)
      const named = ['_kill', '_debugProcess', 'reallyExit', 'execve', 'report', '_rawDebug', 'chdir', 'loadEnvFile', '_getActiveHandles', 'emit']
      const held = Reflect.ownKeys(process).filter((name) => ['function', 'object'].includes(typeof process[name]) && name !== 'features')
      const ways = [...named, 'binding', 'dlopen', 'getBuiltinModule', 'constructor'].filter((name) => process[name] !== undefined)
      writeSync(1, JSON.stringify({ left, held: held.map(String), ways, parent: Object.getPrototypeOf(process), language: typeof Map }))
      exit(0)
    `
    const printed = execFileSync(process.execPath, ['--no-warnings', '--input-type=module', '-e', script], { env: {} })
    expect(JSON.parse(String(printed))).toEqual({ left: [], held: [], ways: [], parent: null, language: 'function' })
  })
})

describe('a runner', () => {
  it('stops a program that does not end, and runs the next', async () => {
    await using quick = await openProgramRunner({ seconds: 0.3 })
    const result = await quick.run('print(1)\nwhile True: pass')
    expect(result).toEqual({ fault: 'timeout', message: 'the program was stopped after 0.3 s' })
    expect((await quick.run('import time\ntime.sleep(60)')).fault).toBe('timeout')
  })

  it('ends a program when it is told to, with the reason given', async () => {
    const controller = new AbortController()
    const { signal } = controller
    // Two of them run, and one waits for its turn.
    const running = Array.from({ length: 3 }, () => runner.run('while True: pass', { signal }))
    controller.abort(new Error('enough'))
    await Promise.all(running.map((one) => expect(one).rejects.toThrow('enough')))
    await expect(runner.run('print(1)', { signal: controller.signal })).rejects.toThrow('enough')
    expect(await runner.run('print(1)')).toEqual({ output: '1\n' })
  })

  it('runs many at once, each with its own answer', async () => {
    const results = await Promise.all(Array.from({ length: 3 }, (_, i) => runner.run(`print(${i} ** 2)`)))
    expect(results.map(({ output }) => output)).toEqual(['0\n', '1\n', '4\n'])
  })

  it('that is closed runs nothing', async () => {
    const closing = await openProgramRunner()
    const running = closing.run('while True: pass')
    await Promise.all([expect(running).rejects.toThrow(/closed/), closing[Symbol.asyncDispose]()])
    await expect(closing.run('print(1)')).rejects.toThrow(/closed/)
  })

  it.each([
    [{ seconds: 0 }, /no seconds of 0/],
    [{ memoryBytes: 1000 }, /no memoryBytes of 1000/],
    [{ processes: 1.5 }, /no processes of 1.5/],
  ])('refuses %o', async (options, message) => {
    await expect(openProgramRunner(options)).rejects.toThrow(message)
  })
})
