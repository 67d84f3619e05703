import fc from 'fast-check'
import { expect, it } from 'vitest'
import { planJobs } from '../../src/generation/queue.ts'

it('the queue gives every text once, longest prompts first, of one length together, within slots and tokens', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 30 }),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 40 }),
      (lengths, samples, slots, tokens) => {
        const queue = planJobs(
          lengths.map((length) => new Uint32Array(length)),
          samples,
          10,
        )
        const seen: string[] = []
        let last = Number.POSITIVE_INFINITY
        while (queue.waiting > 0) {
          const starts = queue.take(slots, tokens)
          const jobs = starts.flatMap((start) => start.jobs.map((job) => ({ ...job, from: start.prompt })))
          expect(jobs.length).toBeGreaterThan(0)
          expect(jobs.length).toBeLessThanOrEqual(slots)
          if (starts.length > 1) expect(starts.length * jobs[0].length).toBeLessThanOrEqual(tokens)
          for (const { prompt, sample, length, from } of jobs) {
            expect(from).toBe(prompt)
            expect(length).toBe(jobs[0].length)
            expect(length).toBe(lengths[prompt])
            seen.push(`${prompt}/${sample}`)
          }
          expect(jobs[0].length).toBeLessThanOrEqual(last)
          last = jobs[0].length
        }
        const all = lengths.flatMap((_, prompt) =>
          Array.from({ length: samples }, (_, sample) => `${prompt}/${sample}`),
        )
        const tooLong = queue.tooLong.map(({ prompt, sample }) => `${prompt}/${sample}`)
        expect([...seen, ...tooLong].sort()).toEqual(all.sort())
        expect(queue.count).toBe(seen.length)
        expect(queue.tooLong.every(({ length }) => length >= 10)).toBe(true)
      },
    ),
  )
})
