/** The worker thread behind library.ts: one tokenizer of the `tokenizers` package, one question at a time. */

import { workerData } from 'node:worker_threads'
import { Tokenizer } from 'tokenizers'
import type { LibraryAnswer, LibraryRequest, LibraryWorkerData } from './library.ts'

const { json, dataJson, port, signal } = workerData as LibraryWorkerData
const tokenizers = new Map<string, Tokenizer>()

function tokenizerOf(text: string): Tokenizer {
  const tokenizer = tokenizers.get(text) ?? Tokenizer.fromString(text)
  tokenizers.set(text, tokenizer)
  return tokenizer
}

async function answer(request: LibraryRequest): Promise<LibraryAnswer> {
  if ('decode' in request) return { text: await tokenizerOf(json).decode(request.decode, false) }
  const tokenizer = tokenizerOf(request.data ? dataJson : json)
  const encoding = await tokenizer.encode(request.encode, null, { addSpecialTokens: false })
  const ids = Uint32Array.from(encoding.getIds())
  return request.offsets ? { ids, offsets: Uint32Array.from(encoding.getOffsets().flat()) } : { ids }
}

port.on('message', async (request: LibraryRequest) => {
  let reply: LibraryAnswer
  try {
    reply = await answer(request)
  } catch (error) {
    reply = { error: error instanceof Error ? error.message : String(error) }
  }
  port.postMessage(reply)
  Atomics.store(signal, 0, 1)
  Atomics.notify(signal, 0)
})
