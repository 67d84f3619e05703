/**
 * Any tokenizer.json through the `tokenizers` package, synchronously. The package only answers with promises, so it
 * lives in a worker thread and the caller sleeps on a shared word until the answer is there: about 0.1 ms a call.
 * Started at the first call; it never keeps the process alive.
 */

import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads'
import { WinnowError } from '../errors.ts'
import type { TextEncoding } from './byte-level.ts'
import { codePointOffsets, type TokenOffsets } from './offsets.ts'
import type { TokenizerJson } from './tokenizer-json.ts'

/** What the worker is asked: `data` uses the tokenizer whose special tokens no text can spell. */
export type LibraryRequest = { encode: string; data: boolean; offsets?: boolean } | { decode: number[] }
/** `offsets`: start and end of each token in code points, [2n]. */
export type LibraryAnswer = { ids: Uint32Array; offsets?: Uint32Array } | { text: string } | { error: string }

/** The library's encoding, which can also tell where its tokens lie. */
export interface LibraryEncoding extends TextEncoding {
  /** Ids with their places in the text; `data`: as `encodeData` gives them. */
  locate(text: string, data: boolean): { ids: Uint32Array; offsets: TokenOffsets }
}

export interface LibraryWorkerData {
  json: string
  dataJson: string
  port: MessagePort
  signal: Int32Array
}

/** Milliseconds after which a silent worker counts as dead; a text of 1 MB takes about a second. */
const PATIENCE = 120_000

/** The encoding of `json` as the library does it. */
export function libraryEncoding(json: TokenizerJson): LibraryEncoding {
  let ask: ((request: LibraryRequest) => LibraryAnswer) | undefined
  const answer = (request: LibraryRequest): LibraryAnswer => {
    ask ??= startLibrary(json)
    const reply = ask(request)
    if ('error' in reply)
      throw new WinnowError('input', {
        code: 'bad-tokenizer',
        message: 'tokenizer.json cannot be used',
        found: reply.error,
        hint: 'Give the tokenizer.json that belongs to the model.',
      })
    return reply
  }
  const encode = (text: string, data: boolean) => (answer({ encode: text, data }) as { ids: Uint32Array }).ids
  return {
    encode: (text) => encode(text, false),
    encodeData: (text) => encode(text, true),
    decode: (ids) => (answer({ decode: Array.from(ids) }) as { text: string }).text,
    locate(text, data) {
      const reply = answer({ encode: text, data, offsets: true }) as { ids: Uint32Array; offsets: Uint32Array }
      return { ids: reply.ids, offsets: codePointOffsets(text, reply.offsets) }
    },
  }
}

function startLibrary(json: TokenizerJson): (request: LibraryRequest) => LibraryAnswer {
  const { port1, port2 } = new MessageChannel()
  const signal = new Int32Array(new SharedArrayBuffer(4))
  // Without special tokens to add, all that a post-processor does is to trim white space from offsets.
  const whole = { ...json, truncation: null, padding: null, post_processor: null }
  const workerData: LibraryWorkerData = {
    json: JSON.stringify(whole),
    dataJson: JSON.stringify(withoutSpelling(whole)),
    port: port2,
    signal,
  }
  const file = import.meta.url.endsWith('.ts') ? './library-worker.ts' : './library-worker.js'
  const worker = new Worker(new URL(file, import.meta.url), { workerData, transferList: [port2] })
  worker.unref()
  port1.unref()
  return (request) => {
    Atomics.store(signal, 0, 0)
    port1.postMessage(request)
    if (Atomics.wait(signal, 0, 0, PATIENCE) === 'timed-out')
      return { error: `no answer from the tokenizers package in ${PATIENCE / 1000} s` }
    return receiveMessageOnPort(port1)!.message
  }
}

/** The same tokenizer, its special tokens renamed to strings that no text holds (they start with a noncharacter). */
function withoutSpelling(json: TokenizerJson): TokenizerJson {
  const special = (json.added_tokens ?? []).filter((token) => token.special)
  const renamed = new Map(special.map((token) => [token.content, `\u{fdd0}${token.id} ${crypto.randomUUID()}`]))
  const vocab = Array.isArray(json.model.vocab)
    ? json.model.vocab.map(([token, score]: [string, number]) => [renamed.get(token) ?? token, score])
    : Object.fromEntries(Object.entries(json.model.vocab).map(([token, id]) => [renamed.get(token) ?? token, id]))
  const unknown = json.model.unk_token
  return {
    ...json,
    added_tokens: json.added_tokens?.map((token) => ({
      ...token,
      content: token.special ? renamed.get(token.content)! : token.content,
    })),
    model: {
      ...json.model,
      vocab: vocab as Record<string, number>,
      ...(unknown ? { unk_token: renamed.get(unknown) ?? unknown } : {}),
    },
  }
}
