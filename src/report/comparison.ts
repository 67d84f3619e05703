/** The page of a comparison: one HTML file, built from a summary, that asks for nothing outside itself. */

import type { ComparedMethod } from '../evaluation/comparison.ts'
import type { Summary } from '../evaluation/summary.ts'
import { costSection } from './comparison-costs.ts'
import { curveSection } from './comparison-curves.ts'
import { differenceSection } from './comparison-differences.ts'
import { resultSection } from './comparison-results.ts'
import { cautions, findings, reading } from './comparison-words.ts'
import { warningBox } from './headline.ts'
import { type Html, type HtmlValue, html } from './html.ts'
import { count, counted, duration, scaled } from './numbers.ts'
import { page } from './page.ts'
import { table } from './table.ts'
import { COMPARISON_STYLES, STYLESHEET } from './theme.ts'

/**
 * A comparison as an HTML document: what it says in words, the table of results, differences to random with their intervals, scores
 * against budgets, costs and break-even, how to read it and how to repeat it. Style inline, charts as SVG, no script, no request;
 * light and dark follow the reader's setting. All strings are text, never markup. Deterministic in `summary`.
 */
export function buildComparisonReport(summary: Summary): string {
  return page({
    title: `${summary.title} · winnow comparison`,
    styles: STYLESHEET + COMPARISON_STYLES,
    body: html`${headline(summary)}
${warningBox(cautions(summary))}
${resultSection(summary)}
${differenceSection(summary)}
${curveSection(summary)}
${costSection(summary)}
<section id="reading"><h2>How to read it</h2>
<ul class="findings">${reading(summary).map((sentence) => html`<li>${sentence}</li>\n`)}</ul>
</section>
${repeatSection(summary)}
<footer>Made by winnow from the comparison’s own files. The page holds no script, no text of the pool, and asks for nothing from the network.</footer>`,
  })
}

function headline(summary: Summary): Html {
  const { budgets, methods, seeds, chance, costs, rows } = summary
  const { whole } = costs
  const compared = rows.filter(({ role }) => role === 'method')
  const texts = findings(summary)
  return html`<header>
<p class="eyebrow">winnow · comparison of methods · ${summary.finishedAt}</p>
<h1><bdi>${summary.title}</bdi></h1>
<p class="lead">${texts[0]}</p>
<ul class="findings">${texts.slice(1).map((sentence) => html`<li>${sentence}</li>\n`)}</ul>
</header>
<dl class="facts">
${fact('Better than random', count(chance.better), `of ${counted(chance.comparisons, 'comparison')}; ${count(chance.worse)} worse`)}
${fact('Methods', count(new Set(compared.map(({ method }) => method)).size), `beside random, of ${counted(methods.length, 'pick')} a budget`)}
${fact('Budgets', count(budgets.length), budgets.map(({ text }) => text).join(', '))}
${fact('Targets trained', count(whole.training.targets), `under ${counted(seeds.length, 'seed')}, ${scaled(whole.training.tokens)} tokens`)}
${fact('Time taken', duration(whole.selection.seconds + whole.training.seconds), `${duration(whole.selection.seconds)} of it selection`)}
</dl>`
}

function fact(name: string, value: string, note: string): Html {
  return html`<div><dt>${name}</dt><dd>${value} <span class="note">${note}</span></dd></div>`
}

/** The command, what was compared on what, and the versions. */
function repeatSection(summary: Summary): Html {
  const { pool, target, proxy, training, steps, epochs, tests } = summary
  const trained = target.trained === target.parameters ? '' : `, ${scaled(target.trained)} of them trained`
  const facts: [string, HtmlValue][] = [
    [
      'Pool',
      html`${counted(pool.rows, 'row')}, ${counted(pool.tokens, 'token')}: ${pool.files.map((file, i) => html`${i > 0 && ', '}<code>${file}</code>`)}`,
    ],
    [
      'Target',
      `${target.name}, ${scaled(target.parameters)} parameters${trained}, ${target.pretrained ? 'pretrained' : 'from random weights'}`,
    ],
    ['Proxy', proxy && `${proxy.name}, ${scaled(proxy.parameters)} parameters`],
    ['Held equal', training === 'steps' ? counted(steps ?? 0, 'step') : counted(epochs ?? 0, 'epoch')],
    ['Seeds', summary.seeds.join(', ')],
    ['Device', summary.device],
    [
      'Tests',
      tests
        .map(({ name, rows, tokens }) => `${name} (${counted(rows, 'row')}, ${counted(tokens, 'token')})`)
        .join(', '),
    ],
  ]
  return html`<section id="repeat"><h2>What was run</h2>
<p>The same files, command, seeds and kind of device give the same numbers.</p>
<code class="command">${summary.command}</code>
<div class="scroll"><table class="run"><caption>Settings</caption><tbody>
${facts.filter(([, value]) => value !== undefined).map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${value}</td></tr>\n`)}
</tbody></table></div>
${table(
  'Methods',
  [
    { head: 'method', cell: (method: ComparedMethod) => method.label, kind: 'head' },
    { head: 'what it does', cell: ({ title }) => title },
    { head: 'options', cell: ({ options }) => optionText(options) },
    { head: 'under another seed', cell: ({ deterministic }) => (deterministic ? 'the same pick' : 'another pick') },
  ],
  summary.methods,
)}
${
  Object.keys(summary.versions).length > 0 &&
  table(
    'Versions',
    [
      { head: 'of', cell: ([name]: [string, string]) => name, kind: 'head' },
      { head: 'version', cell: ([, version]) => version },
    ],
    Object.entries(summary.versions),
  )
}
</section>`
}

function optionText(options: Record<string, unknown>): string {
  return Object.entries(options)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ')
}
