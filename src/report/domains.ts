/** How far each domain of the pool is from the target, and which were kept. */

import * as Plot from '@observablehq/plot'
import { type LegendEntry, legend, responsiveChart } from './chart.ts'
import type { ReportData, ReportDomain, ReportDomains } from './data.ts'
import { type Html, html, truncate, visibleText } from './html.ts'
import { axisLabel, labelWidth, shorten } from './labels.ts'
import { count, counted, figure, percent, stepped } from './numbers.ts'
import type { ReportSummary } from './summary.ts'
import { disclosure, table } from './table.ts'
import { COLOUR } from './theme.ts'

/** Domains drawn at most, the nearest; the table names each. */
const MOST_DOMAINS = 24

/** Left out (undefined) where domains were not measured. */
export function domainSection({ domains }: ReportData, { selectedRows }: ReportSummary): Html | undefined {
  if (!domains || domains.rows.length === 0) return undefined
  const measured = domains.rows.filter(({ distance }) => Number.isFinite(distance))
  const drawn = measured.slice(0, MOST_DOMAINS)
  const yards = yardsticks(domains)
  const all = domains.rows.every(({ kept }) => kept)
  return html`<section id="domains"><h2>How far the domains are from the target</h2>
<p>${words(domains, measured)}</p>
${
  drawn.length > 0 &&
  html`${legend([
    ...(drawn.some(({ kept }) => kept)
      ? [{ label: 'domain that was kept', colour: COLOUR.picked, mark: 'dot' as const }]
      : []),
    ...(all ? [] : [{ label: 'domain that was not', colour: COLOUR.pool, mark: 'dot' as const }]),
    ...yards.map(
      ({ label, value, mark }): LegendEntry => ({ label: `${label}: ${figure(value)}`, colour: COLOUR.ink, mark }),
    ),
  ])}
<figure>${responsiveChart(
    {
      id: 'domain-distances',
      title: 'Distance of each domain from the target',
      description: drawn
        .map(
          ({ name, distance, kept }) =>
            `${visibleText(truncate(name, 60))}: ${figure(distance)}, ${kept ? 'kept' : 'not kept'}`,
        )
        .join('; '),
    },
    (_width, narrow) => {
      // Dots are keyed by position, since names cut for the axis may be equal.
      const keys = drawn.map((_, i) => `domain ${i}`)
      const names = new Map(keys.map((key, i) => [key, shorten(axisLabel(drawn[i].name), narrow ? 120 : 220)]))
      const key = (domain: ReportDomain) => keys[drawn.indexOf(domain)]
      const colour = ({ kept }: ReportDomain) => (kept ? COLOUR.picked : COLOUR.pool)
      // Stems measure from what near is; where that is not known they only lead the eye.
      const scale = span([...drawn.map(({ distance }) => distance), ...yards.map(({ value }) => value)])
      return {
        height: 44 + drawn.length * 22,
        marginLeft: 18 + Math.max(...[...names.values()].map(labelWidth)),
        marginRight: narrow ? 14 : 24,
        marginTop: 6,
        marginBottom: 36,
        x: { domain: scale, label: 'transport cost to the target', ticks: narrow ? 4 : 8, grid: true },
        y: { label: null, domain: keys },
        marks: [
          Plot.axisY({ tickSize: 0, tickFormat: (name: string) => names.get(name)! }),
          ...yards.map(({ value, mark }) =>
            Plot.ruleX([value], {
              stroke: COLOUR.ink,
              strokeWidth: 1.25,
              strokeDasharray: mark === 'dashed' ? '4,3' : 'none',
            }),
          ),
          Plot.ruleY(drawn, {
            x1: Number.isFinite(domains.self) ? domains.self! : scale[0],
            x2: 'distance',
            y: key,
            stroke: colour,
            strokeOpacity: 0.6,
            strokeWidth: 1.5,
          }),
          Plot.dot(drawn, { x: 'distance', y: key, r: 5, fill: colour }),
        ],
        color: { type: 'identity' },
      }
    },
  )}${
    measured.length > drawn.length &&
    html`<figcaption>The nearest ${count(drawn.length)} of ${counted(measured.length, 'domain')} are drawn.</figcaption>`
  }</figure>`
}
${disclosure(
  'The same as a table',
  table(
    'Domains, nearest first',
    [
      { head: 'domain', cell: (domain: ReportDomain) => truncate(domain.name, 200), kind: 'head' },
      { head: 'distance', cell: (domain) => figure(domain.distance), kind: 'number' },
      ...(between(domains)
        ? [
            {
              head: 'from near to far',
              cell: (domain: ReportDomain) => wayOut(domains, domain),
              kind: 'number' as const,
            },
          ]
        : []),
      { head: 'kept', cell: (domain) => (domain.kept ? 'yes' : 'no') },
      { head: 'rows', cell: (domain) => count(domain.rows), kind: 'number' },
      { head: 'picked', cell: (domain) => count(domain.selected), kind: 'number' },
      { head: 'share of domain', cell: (domain) => percent(domain.selected / domain.rows), kind: 'number' },
      { head: 'share of pick', cell: (domain) => percent(domain.selected / selectedRows), kind: 'number' },
    ],
    domains.rows,
  ),
)}
</section>`
}

function words(domains: ReportDomains, measured: readonly ReportDomain[]): string {
  const { rows } = domains
  const kept = rows.filter((domain) => domain.kept)
  const held = kept.reduce((sum, domain) => sum + domain.rows, 0)
  const pool = rows.reduce((sum, domain) => sum + domain.rows, 0)
  const parts = [
    'The distance of a domain is the cost of transporting a sample of its rows onto the target: lower is nearer.',
    rows.length === kept.length
      ? `The pool has ${counted(rows.length, 'domain')}, and ${rows.length === 1 ? 'it was' : 'all were'} kept.`
      : `Of ${counted(rows.length, 'domain')}, ${count(kept.length)} ${kept.length === 1 ? 'was' : 'were'} kept, with ${counted(held, 'row')} (${percent(held / pool)} of them all).`,
  ]
  if (measured.length > 0)
    parts.push(`The nearest is ${truncate(measured[0].name, 60)}, at ${figure(measured[0].distance)}.`)
  if (between(domains) && measured.length > 0)
    parts.push(
      `Near is what one half of the target is to the other (${figure(domains.self!)}), far what rows are that are paired ` +
        `at random (${figure(domains.unrelated!)}): the nearest domain ${
          measured[0].distance <= domains.self!
            ? 'is nearer than that half, which has fewer rows to choose from'
            : `lies ${wayOut(domains, measured[0])} of the way from near to far`
        }.`,
    )
  return parts.join(' ')
}

interface Yardstick {
  label: string
  value: number
  mark: 'line' | 'dashed'
}

function yardsticks({ self, unrelated }: ReportDomains): Yardstick[] {
  const yards: Yardstick[] = []
  if (Number.isFinite(self)) yards.push({ label: 'target to itself', value: self!, mark: 'line' })
  if (Number.isFinite(unrelated)) yards.push({ label: 'rows paired at random', value: unrelated!, mark: 'dashed' })
  return yards
}

function between({ self, unrelated }: ReportDomains): boolean {
  return Number.isFinite(self) && Number.isFinite(unrelated) && unrelated! > self!
}

/** Where a distance lies between the yardsticks, as a percentage; beyond them it is below 0 % or over 100 %. */
function wayOut({ self, unrelated }: ReportDomains, { distance }: ReportDomain): string {
  const share = (distance - self!) / (unrelated! - self!)
  return Number.isFinite(share) ? `${stepped(100 * share, 1)}\u00a0%` : '–'
}

/** Range of all values with some air on both sides. */
function span(values: readonly number[]): [number, number] {
  const low = Math.min(...values)
  const high = Math.max(...values)
  const air = high > low ? 0.05 * (high - low) : Math.max(Math.abs(high), 1) * 0.05
  return [low - air, high + air]
}
