/** Records as plain texts, for training that knows no prompt and no response. */

import type { Dataset } from './dataset.ts'
import type { Turn } from './record.ts'

/** Between the turns of a record. Pieces of one text (a `--template`'s, or plain text) have nothing between them. */
const SEPARATOR = '\n\n'

/** A record as one text: the contents of its turns in order, a blank line between them; roles leave no trace. */
export function wholeText(turns: readonly Turn[]): string {
  let text = ''
  turns.forEach(({ role, content }, i) => {
    const continues = i === 0 || (role === 'text' && turns[i - 1].role === 'text')
    text += continues || content === '' || text === '' ? content : `${SEPARATOR}${content}`
  })
  return text
}

/** The same dataset with every record as one `text` turn, all of it trained. */
export function asTexts(dataset: Dataset): Dataset {
  return {
    inputs: dataset.inputs,
    format: dataset.format,
    get scan() {
      return dataset.scan
    },
    options: dataset.options,
    report: () => dataset.report(),
    async *batches(pass) {
      for await (const { records, bytes } of dataset.batches(pass)) {
        const texts = records.map((record) => ({
          ...record,
          turns: [{ role: 'text' as const, content: wholeText(record.turns), trained: true }],
        }))
        yield { records: texts, bytes }
      }
    },
  }
}
