/** The Python that every program is run by: modules out of bounds, and what an exception is called. */

/** Gives a function of a source, which gives None or `{"fault", "message"}` as JSON. */
export const GUARD = `
def _open():
    import json, os, posix, sys

    class Forbidden(ImportError):
        pass

    blocked = {
        'js', 'pyodide', 'pyodide_js', '_pyodide', '_pyodide_core', 'micropip', 'ctypes', '_ctypes',
        'socket', '_socket', 'ssl', '_ssl', 'subprocess', '_posixsubprocess', 'multiprocessing', '_multiprocessing', 'webbrowser',
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
