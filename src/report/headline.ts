/** The top of the page: what was kept, in one sentence and a few numbers. */

import type { ReportData, ReportTarget } from './data.ts'
import { type Html, html, truncate } from './html.ts'
import { count, counted, duration, nats, percent, scaled } from './numbers.ts'
import type { ReportSummary } from './summary.ts'

export function headline(data: ReportData, summary: ReportSummary): Html {
  const { run } = data
  const { rows, tokens, selectedRows, selectedTokens, clusters } = summary
  const seconds = run.timings.reduce((sum, timing) => sum + timing.seconds, 0)
  const { coverage } = summary.shown
  const represented = clusters?.order.filter((k) => clusters.picks[k] > 0).length
  return html`<header>
<p class="eyebrow">winnow · selection report${data.finishedAt && ` · ${data.finishedAt}`}</p>
<h1><bdi>${data.title}</bdi></h1>
<p class="lead">${count(selectedRows)} of ${counted(rows, 'row')} (${percent(selectedRows / rows)}) were picked by <code>${run.method}</code> for
a budget of <code>${run.budget}</code>${data.target && aim(data.target)}. They hold ${count(selectedTokens)} of ${counted(tokens, 'token')} (${percent(selectedTokens / tokens)}): an epoch over
the pick trains on that share of the pool’s tokens.</p>
<p>This page describes the pick. It does not measure what a model learns from it: for that, train on the pick and on a random
one of the same size, and compare them on data that neither has seen.</p>
</header>
<dl class="facts">
${fact('Rows picked', count(selectedRows), `of ${count(rows)}`)}
${fact('Tokens picked', scaled(selectedTokens), `of ${scaled(tokens)}`)}
${clusters && fact('Clusters with a pick', count(represented ?? 0), `of ${count(clusters.order.length)}`)}${coverage && fact('Target rows with a pick', count(coverage.picks.length - coverage.unreached), `of ${count(coverage.picks.length)}`)}
${
  run.proxy?.nll !== undefined &&
  fact(
    'Proxy loss',
    nats(run.proxy.nll),
    run.proxy.bigramNll === undefined ? 'nats a token' : `nats a token; bigram model ${nats(run.proxy.bigramNll)}`,
  )
}
${seconds > 0 && fact('Time taken', duration(seconds), run.device === undefined ? 'all stages' : `all stages, on ${run.device}`)}
</dl>`
}

function aim({ files, rows, contrast }: ReportTarget): Html {
  return html`, to move a model ${contrast ? 'away from' : 'toward'} the ${counted(rows, 'row')} of ${files.map(
    (file, i) => html`${i > 0 && ', '}<code>${truncate(file, 80)}</code>`,
  )}`
}

function fact(name: string, value: string, note: string): Html {
  return html`<div><dt>${name}</dt><dd>${value} <span class="note">${note}</span></dd></div>`
}

/** What the run itself warned of, and what its numbers say. */
export function warnings(data: ReportData): string[] {
  const { proxy } = data.run
  const all = [...data.warnings]
  if (proxy?.nll !== undefined && proxy.bigramNll !== undefined && !(proxy.nll < proxy.bigramNll)) {
    all.unshift(
      `The proxy’s loss (${nats(proxy.nll)} nats a token) is not lower than that of a bigram model of the same tokens ` +
        `(${nats(proxy.bigramNll)}). It learned too little for its trajectories to tell rows apart: do not rely on this pick.`,
    )
  }
  return all
}

export function warningBox(list: readonly string[]): Html | undefined {
  if (list.length === 0) return undefined
  return html`<aside class="warnings" aria-label="Warnings"><strong>${counted(list.length, 'warning')}</strong>
<ul>${list.map((warning) => html`<li>${warning}</li>`)}</ul></aside>`
}
