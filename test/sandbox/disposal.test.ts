/** A sandbox that nobody used lets its process go on to the end. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

it('closes where no program was run, and where nothing else keeps the process alive', async () => {
  const module = new URL('../../src/sandbox/program.ts', import.meta.url).href
  const script = `import { openProgramRunner } from ${JSON.stringify(module)}
{ await using runner = await openProgramRunner() }
console.log('closed')`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script])
  expect(stdout).toBe('closed\n')
})
