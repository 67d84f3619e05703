/** The page of an analysis: one HTML file in the report's style, built from plain data, that asks for nothing outside itself. */

import type { Analysis } from '../analysis/data.ts'
import { clusterTopicSection } from './analysis-clusters.ts'
import { gradientSection } from './analysis-gradients.ts'
import { topicSection } from './analysis-topics.ts'
import { warningBox } from './headline.ts'
import { type Html, html } from './html.ts'
import { count, counted, percent } from './numbers.ts'
import { page } from './page.ts'
import { table } from './table.ts'
import { STYLESHEET } from './theme.ts'

export interface AnalysisPage {
  /** The pool's files. */
  title: string
  /** The command as it was typed. */
  command: string
  analysis: Analysis
  device: string
  versions: Readonly<Record<string, string>>
  notices: readonly string[]
}

/**
 * The analysis as an HTML document: style inline, charts as SVG, no script, no request. All strings are text, never markup. Sections without data
 * are left out. Deterministic.
 */
export function buildAnalysis(data: AnalysisPage): string {
  const { analysis, title, notices } = data
  const { method, budget, rows, selected } = analysis
  return pageOf(
    `${title} · winnow analysis`,
    html`<header>
<p class="eyebrow">winnow · analysis of a selection</p>
<h1><bdi>${title}</bdi></h1>
<p class="lead">${count(selected)} of ${counted(rows, 'row')} (${percent(selected / rows)}) were picked by <code>${method}</code> for a budget of <code>${budget}</code>.
This page shows what its groups are made of, what the pick does to the sources, and whether rows of one group move the proxy alike, each beside chance.</p>
<p>None of it says what a model learns from the pick.</p>
</header>
${warningBox(notices)}
${clusterTopicSection(analysis)}
${topicSection(analysis)}
${gradientSection(analysis)}
${analysisRun(data)}`,
  )
}

/** A document of the report's style. */
export function pageOf(title: string, body: Html): string {
  return page({
    title,
    styles: STYLESHEET,
    body: html`${body}
<footer>Made by winnow from the run’s own files. The page holds no script and asks for nothing from the network.</footer>`,
  })
}

function analysisRun({ analysis, command, device, versions }: AnalysisPage): Html {
  return html`<section id="run"><h2>What was run</h2>
<p>The same run, command, seed and kind of device give the same numbers.</p>
<code class="command">${command}</code>
<p>Seed ${analysis.seed}; chance from ${count(analysis.permutations)} draws; device ${device}.</p>
${table(
  'Versions',
  [
    { head: 'of', cell: ([name]: [string, string]) => name, kind: 'head' },
    { head: 'version', cell: ([, version]) => version },
  ],
  Object.entries(versions),
)}
</section>`
}
