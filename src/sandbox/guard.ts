/** The Python that every program is run by: modules out of bounds, and what an exception is called. */

/** Modules in C that lead out of Python: to addresses, sockets, processes, JavaScript, and the insides of the interpreter. */
const OUTWARD = [
  ...['_ctypes', '_multiprocessing', '_posixsubprocess', '_pyodide_core', '_remote_debugging', '_socket', '_ssl'],
  ...['_testbuffer', '_testcapi', '_testclinic', '_testclinic_limited', '_testinternalcapi', '_testlimitedcapi'],
  ...['_xxtestfuzz', 'xxsubtype'],
]

/** What Pyodide's module gives of itself: the memory, and where in it the address of the table of built-in modules is. */
export interface InterpreterMemory {
  HEAPU8: Uint8Array
  HEAPU32: Uint32Array
  _PyImport_Inittab: number
}

/**
 * Takes the modules that lead out of Python from the interpreter's table of built-in modules: `BuiltinImporter` finds them no more, and `_imp` makes
 * only what Pyodide has loaded already (`_pyodide_core`). A hurdle and no wall, for whoever writes to this memory can put them back.
 *
 * The table is pairs of addresses, name and function, ended by 0, and CPython keeps copies: each place where its first pairs stand is one. An entry
 * is taken by writing one that stays over it.
 *
 * @throws {Error} where the table is not as expected; that is another Pyodide than the one this is made for.
 */
export function removeBuiltins({ HEAPU8, HEAPU32, _PyImport_Inittab }: InterpreterMemory): void {
  const nameAt = (address: number) => {
    const bytes = HEAPU8.subarray(address, address + 64)
    return String.fromCharCode(...bytes.subarray(0, bytes.indexOf(0)))
  }
  const table = HEAPU32[_PyImport_Inittab >>> 2] >>> 2
  const entries: { name: string; words: Uint32Array }[] = []
  for (let at = table; HEAPU32[at] !== 0 && entries.length < 1000; at += 2)
    entries.push({ name: nameAt(HEAPU32[at]), words: HEAPU32.slice(at, at + 2) })
  const staying = entries.find(({ name }) => name === 'math')
  if (staying === undefined) throw new Error('the interpreter has no table of built-in modules')
  const taken = new Set(entries.filter(({ name }) => OUTWARD.includes(name)).map(({ words }) => words[0]))
  const [first, second, third, fourth] = HEAPU32.slice(table, table + 4)
  for (let start = HEAPU32.indexOf(first); start >= 0; start = HEAPU32.indexOf(first, start + 1)) {
    if (HEAPU32[start + 1] !== second || HEAPU32[start + 2] !== third || HEAPU32[start + 3] !== fourth) continue
    for (let at = start; HEAPU32[at] !== 0; at += 2) if (taken.has(HEAPU32[at])) HEAPU32.set(staying.words, at)
  }
}

/** Gives a function of a source, which gives None or `{"fault", "message"}` as JSON. */
export const GUARD = `
def _open():
    import json, os, posix, sys

    class Forbidden(ImportError):
        pass

    blocked = {
        'js', 'pyodide', 'pyodide_js', '_pyodide', 'micropip', 'ctypes', 'socket', 'ssl', 'subprocess', 'multiprocessing', 'webbrowser',
        ${OUTWARD.map((name) => `'${name}'`).join(', ')},
    }

    class Guard:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name.partition('.')[0] in blocked:
                raise Forbidden(f"the program imports '{name}', which leads out of the sandbox", name=name)

    def refused(name):
        def refuse(*values, **named):
            raise Forbidden(f'the program calls os.{name}, which leads out of the sandbox')
        return refuse

    for name in ('system', 'popen', 'kill', 'killpg', 'fork', 'forkpty', 'abort', '_exit', 'execv', 'execve', 'posix_spawn', 'posix_spawnp'):
        for module in (os, posix):
            if hasattr(module, name):
                setattr(module, name, refused(name))

    os.urandom(1)
    for finder in sys.meta_path:
        getattr(finder, 'jsproxies', {}).clear()
    sys.meta_path[:] = [Guard] + [finder for finder in sys.meta_path if 'pyodide' not in getattr(type(finder), '__module__', '')]
    sys.builtin_module_names = tuple(name for name in sys.builtin_module_names if name not in blocked)
    for name in list(sys.modules):
        if name.partition('.')[0] in blocked:
            del sys.modules[name]

    known = sys.stdlib_module_names
    dumps, compiled, execute = json.dumps, compile, exec
    kinds = (SystemExit, Forbidden, MemoryError, OverflowError, ModuleNotFoundError)

    def run(source):
        space = {'__name__': '__main__', '__builtins__': __builtins__}
        try:
            execute(compiled(source, '<program>', 'exec', 0, True), space)
        except BaseException as error:
            exits, forbidden, memory, overflow, missing = kinds
            kind, message = 'error', str(error)
            if isinstance(error, exits):
                if error.code in (None, 0):
                    return None
                message = f'the program ended itself with {error.code}'
            elif isinstance(error, forbidden):
                kind = 'forbidden'
            elif isinstance(error, memory) or isinstance(error, overflow) and 'index-sized' in message:
                kind, message = 'memory', 'the program asks for more memory than it may have'
            elif isinstance(error, missing) and error.name and error.name.partition('.')[0] not in known:
                message = f"the program imports '{error.name}', which the sandbox has not: only Python's own modules are there"
            else:
                message = f'{type(error).__name__}: {message}'
            return dumps({'fault': kind, 'message': message[:500]})
        return None

    return run

_open()
`
