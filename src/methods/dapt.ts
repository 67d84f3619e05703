/** DAPT: rows of the domain that is nearest to the target. */

import { z } from 'zod'
import { randomStream, sample } from '../random/philox.ts'
import { requireSignal } from '../signals/signal.ts'
import { underFilled } from './budget.ts'
import { domainDistances, domainGroups } from './domains.ts'
import { defineMethod, type Notice } from './method.ts'
import { countTokens, takeInOrder, usableRows } from './ordered.ts'
import { cost, domainSample, epsilon } from './transport-options.ts'

/**
 * Domain-adaptive pretraining (Gururangan et al., ACL 2020), METHODS 3: a uniform draw from the source whose transport cost to the target is
 * least. Where it has fewer rows than the budget asks for, it is taken whole and the rest is drawn from the next nearest (ours).
 *
 * With one seed a smaller budget in rows selects a subset of a larger one. Column: `domain_distance`. O(N + D log D).
 */
export const dapt = defineMethod({
  name: 'dapt',
  title: 'Nearest domain (DAPT)',
  summary: 'Rows drawn uniformly from the source that is nearest to the target.',
  reference: {
    title: "Don't Stop Pretraining: Adapt Language Models to Domains and Tasks",
    authors: 'Suchin Gururangan, Ana Marasović, Swabha Swayamdipta, Kyle Lo, Iz Beltagy, Doug Downey, Noah A. Smith',
    venue: 'ACL 2020',
    url: 'https://arxiv.org/abs/2004.10964',
  },
  options: z.object({ domainSample, cost, epsilon }),
  needs: ({ domainSample: rows, cost: kind, epsilon: policy }, unit) => [
    { signal: 'source' },
    ...(unit === 'tokens' ? [{ signal: 'tokens' } as const] : []),
    { signal: 'embeddings', normalise: kind !== 'paper' },
    { signal: 'distance', of: 'embeddings', sample: rows, epsilon: policy },
  ],
  select: (input) => {
    const { rows, budget, signals, seed } = input
    const source = requireSignal(signals, 'source', rows)
    const distance = requireSignal(signals, 'distance', rows)
    const all = usableRows(input)
    const domains = domainDistances(distance, source)
    const members = new Map<number, number[]>(domains.map(({ code }) => [code, []]))
    for (const row of all) members.get(source.data[row])?.push(row)
    const drawn = domains.map(({ code }) => {
      const rows = Uint32Array.from(members.get(code) as number[])
      return sample(rows, rows.length, randomStream(seed, 'dapt draw', code))
    })
    // One after the other: a budget in tokens goes on in the next domain where the nearest has no row left that fits.
    const ordered = new Uint32Array(all.length)
    drawn.reduce((at, part) => {
      ordered.set(part, at)
      return at + part.length
    }, 0)
    const selected = takeInOrder(ordered, input)
    const groups = domainGroups(domains, source, selected)
    const beyond = groups.slice(1).filter(({ selected: count }) => count > 0)
    const notices: Notice[] = []
    if (beyond.length > 0)
      notices.push({
        code: 'domain-exhausted',
        message: `the nearest source (${groups[0].label || 'without a name'}) has only ${groups[0].rows} rows: the rest is from ${beyond.map(({ label }) => label || '(none)').join(', ')}`,
        rows: beyond.reduce((total, { selected: count }) => total + count, 0),
      })
    return {
      selected,
      columns: { domain_distance: distance.data as Float64Array },
      groups,
      ...countTokens(selected, input),
      notices: [...notices, ...underFilled(budget, selected.length)],
    }
  },
})
