/** The order in which prompts are read: long ones first, those of one length together. Pure. */

export interface Job {
  /** Index of the prompt. */
  prompt: number
  sample: number
  /** Tokens of the prompt. */
  length: number
}

/** A prompt to read once, and its continuations that begin now. */
export interface Start {
  prompt: number
  jobs: Job[]
}

export interface Queue {
  /** Texts whose prompt leaves no room for a token. */
  tooLong: Job[]
  /** Texts to be generated. */
  readonly count: number
  readonly waiting: number
  /** Tokens of the longest prompt among them; 0 where there is none. */
  readonly longest: number
  /** The next texts, at most `slots` and their prompts of one length, together at most `tokens` of these; at least one. */
  take(slots: number, tokens: number): Start[]
}

/** Texts by falling prompt length, prompt, sample. O(N log N). */
export function planJobs(prompts: readonly Uint32Array[], samples: number, maxLength: number): Queue {
  const order = Uint32Array.from(prompts.keys()).sort((a, b) => prompts[b].length - prompts[a].length || a - b)
  const jobs: Job[] = []
  for (const prompt of order)
    for (let sample = 0; sample < samples; sample++) jobs.push({ prompt, sample, length: prompts[prompt].length })
  const fits = jobs.filter(({ length }) => length < maxLength)
  let at = 0
  return {
    tooLong: jobs.filter(({ length }) => length >= maxLength),
    count: fits.length,
    longest: fits[0]?.length ?? 0,
    get waiting() {
      return fits.length - at
    },
    take(slots, tokens) {
      const starts: Start[] = []
      const { length } = fits[at]
      for (let taken = 0; taken < slots && at < fits.length && fits[at].length === length; taken++) {
        const job = fits[at]
        if (starts.at(-1)?.prompt === job.prompt) starts.at(-1)?.jobs.push(job)
        else if (starts.length === 0 || (starts.length + 1) * length <= tokens)
          starts.push({ prompt: job.prompt, jobs: [job] })
        else break
        at++
      }
      return starts
    },
  }
}
