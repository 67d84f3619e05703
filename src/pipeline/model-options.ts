/** What a command may ask of the model that it trains or scores with, and of its training. */

import { availableParallelism } from 'node:os'
import type { DeviceName, Precision } from '../engine/session.ts'
import { WinnowError } from '../errors.ts'
import { isNano, namedSize } from '../models/nano.ts'

export interface ModelOptions {
  /** `nano`, a hub id (`owner/name`, also `owner/name@revision`) or a directory in the Hugging Face layout. */
  proxy?: string
  /** Branch, tag or commit of a hub model. Default: what stands behind `@`, else main. */
  revision?: string
  /** Ask no hub: use what is in the cache. Default false. */
  offline?: boolean
  device?: DeviceName
  /** Of matrix products. Default float32; cpu has no other. */
  precision?: Precision
  /** Threads of the cpu device, of the optimiser and of clustering. Default: as many as the machine runs at once. */
  threads?: number
  /** Rows are cut to this many tokens. Default 512, or what the model has positions for where that is less. */
  maxLength?: number
}

/** Of a pretrained model's fine-tuning; nano has a recipe of its own. */
export interface TrainingOptions {
  /** Default 3. */
  epochs?: number
  /** Peak of the cosine schedule. Default 2e-5, with adapters 2e-4. */
  learningRate?: number
  /** Rows of an optimiser step, on average. Default: a hundredth of the rows, between 8 and 128. */
  batch?: number
  /** Tokens of a forward and backward pass: larger batches are cut into parts whose gradients are added up. Default: by memory. */
  microBatch?: number
  /** Keep only each layer's input for the backward pass. Default false. */
  recompute?: boolean
  /** Rank of low-rank adapters to train in place of the model's own weights. */
  lora?: number
}

export interface ResolvedModelOptions {
  proxy: string
  revision?: string
  offline: boolean
  device: DeviceName
  precision: Precision
  threads: number
  maxLength: number
  /** Whether `maxLength` was asked for, so that a model with fewer positions is an error. */
  maxLengthAsked: boolean
}

export interface ResolvedTrainingOptions extends TrainingOptions {
  recompute: boolean
}

const badOption = (path: string, found: unknown, expected: string, message: string) =>
  new WinnowError('usage', { code: 'bad-option', message, path, found: String(found), expected })

/** A whole number of at least `least`, or the fallback where none is given. */
export function wholeNumber(value: number | undefined, fallback: number, path: string, least: number): number {
  const number = value ?? fallback
  if (Number.isSafeInteger(number) && number >= least) return number
  throw badOption(path, value, `${least} or more`, 'the option takes a whole number')
}

/** @throws {WinnowError} `bad-option`. */
export function resolveModelOptions(options: ModelOptions): ResolvedModelOptions {
  const { device = 'cpu', precision = 'float32' } = options
  const possible = { cpu: ['float32'], webgpu: ['float32', 'float16'], cuda: ['float32', 'float16', 'bfloat16'] }[
    device
  ]
  if (!possible.includes(precision))
    throw badOption(
      '--precision',
      precision,
      possible.join(' or '),
      `the device ${device} does not have this precision`,
    )
  const proxy = options.proxy ?? 'nano'
  if (isNano(proxy)) namedSize(proxy, '--proxy')
  return {
    proxy,
    revision: options.revision,
    offline: options.offline ?? false,
    device,
    precision,
    threads: wholeNumber(options.threads, availableParallelism(), '--threads', 1),
    maxLength: wholeNumber(options.maxLength, 512, '--max-length', 8),
    maxLengthAsked: options.maxLength !== undefined,
  }
}

/** @throws {WinnowError} `bad-option`; `nano-recipe` where an option is given that only pretrained models have. */
export function resolveTrainingOptions(options: TrainingOptions, proxy: string): ResolvedTrainingOptions {
  const { epochs, learningRate, batch, microBatch, recompute = false, lora } = options
  const given = Object.entries({ epochs, learningRate, batch, microBatch, recompute: recompute || undefined, lora })
  for (const [name, value] of given) {
    if (value === undefined) continue
    const path = `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
    if (isNano(proxy))
      throw new WinnowError('usage', {
        code: 'nano-recipe',
        message: "nano's recipe follows from the pool; the option is one of pretrained models",
        path,
        hint: 'Leave it out, or name a model.',
      })
    if (name === 'learningRate') {
      if (!(typeof value === 'number' && value > 0 && value < 1))
        throw badOption(path, value, 'a number between 0 and 1, such as 2e-5', 'the learning rate is not usable')
    } else if (typeof value === 'number') wholeNumber(value, value, path, 1)
  }
  return { epochs, learningRate, batch, microBatch, recompute, lora }
}
