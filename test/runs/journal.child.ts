/** `journal.child.ts <file>`: append long records until one fails, then a short one. Run under a file size limit. */

import { WinnowError } from '../../src/errors.ts'
import { type JournalRecord, openJournal } from '../../src/runs/journal.ts'

await using journal = await openJournal(process.argv[2])
const record = (stage: string, value: string): JournalRecord => ({
  event: 'done',
  stage,
  key: '00',
  outputs: [],
  value,
  at: '',
})
try {
  while (true) await journal.append(record('long', 'x'.repeat(9000)))
} catch (error) {
  if (!(error instanceof WinnowError)) throw error
  console.log(`${error.fault.code} after ${journal.records.length}`)
}
await journal.append(record('short', ''))
