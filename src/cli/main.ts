#!/usr/bin/env node
/** The command `winnow`. */

import { enableCompileCache } from 'node:module'

// Halves the time to the first line; whatever is imported after this call is compiled once for each version of it.
enableCompileCache()
const [{ runCommand }, { tolerateClosedPipes }] = await Promise.all([import('./program.ts'), import('./terminal.ts')])
tolerateClosedPipes()
process.exitCode = await runCommand(process.argv.slice(2))
