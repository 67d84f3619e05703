/** Whole numbers on the command line. */

import { InvalidArgumentError } from 'commander'

/** A parser of options that take a whole number. */
export const wholeNumber = (least: number) => (text: string) => {
  const value = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least)
    throw new InvalidArgumentError(`It takes a whole number of at least ${least}.`)
  return value
}
