/** The page a person reads: one HTML file, built from plain data, that asks for nothing outside itself. */

import { clusterSection } from './clusters.ts'
import { compositionSection } from './composition.ts'
import { checkReportData, type ReportData } from './data.ts'
import { domainSection } from './domains.ts'
import { exampleSection } from './examples.ts'
import { headline, warningBox, warnings } from './headline.ts'
import { html } from './html.ts'
import { lengthSection } from './lengths.ts'
import { page } from './page.ts'
import { quarantineSection } from './quarantine.ts'
import { runSection } from './run.ts'
import { scoreSection } from './scores.ts'
import { summarise } from './summary.ts'
import { targetSection } from './target.ts'
import { STYLESHEET, TARGET_STYLES } from './theme.ts'
import { trajectorySection } from './trajectories.ts'

/**
 * The report as an HTML document: style inline, charts as SVG, no script, no request (a Content-Security-Policy forbids
 * both). Light and dark follow the reader's setting. All strings of `data` are text, never markup.
 *
 * Sections without data are left out: clusters, trajectories, scores, domains and the target for methods that have none, sources
 * for rows without one. Deterministic in `data`. O(N T) time; the size does not grow with N, since rows are counted before they are drawn.
 * @throws WinnowError `report-data-mismatch` where columns disagree in length.
 */
export function buildReport(data: ReportData): string {
  checkReportData(data)
  const summary = summarise(data)
  return page({
    title: `${data.title} · winnow report`,
    styles: data.target || data.scores ? STYLESHEET + TARGET_STYLES : STYLESHEET,
    body: html`${headline(data, summary)}
${warningBox(warnings(data))}
${trajectorySection(data, summary)}
${clusterSection(summary)}
${domainSection(data, summary)}${scoreSection(data, summary)}${targetSection(data, summary)}${compositionSection(summary)}
${lengthSection(data, summary)}
${exampleSection(data, summary)}
${quarantineSection(data, summary)}
${runSection(data, summary)}
<footer>Made by winnow from the run’s own files. The page holds no script and asks for nothing from the network. It does hold
texts of the pool${data.target && ' and of the target'}, in the examples${summary.shown.panels.length > 0 && ' and under the trajectories'}: think of that before you share it.</footer>`,
  })
}
