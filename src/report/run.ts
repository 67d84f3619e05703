/** What was run, on what, and what it cost: enough to run it again and to check it. */

import type { ProxyFacts, ReportData, RunFacts } from './data.ts'
import { type Html, type HtmlValue, html } from './html.ts'
import { bytes, count, counted, duration, nats, percent, scaled } from './numbers.ts'
import type { ReportSummary } from './summary.ts'
import { table } from './table.ts'

export function runSection(data: ReportData, summary: ReportSummary): Html {
  const { run } = data
  const { proxy } = run
  const checkpoints = data.trajectories?.steps.length
  const facts: (readonly [string, HtmlValue])[] = [
    ['Method', html`<code>${run.method}</code>`],
    ...Object.entries(run.options ?? {}).map(([name, value]): [string, HtmlValue] => [
      `Option ${name}`,
      html`<code>${String(value)}</code>`,
    ]),
    ['Budget asked for', html`<code>${run.budget}</code>`],
    [
      'Rows picked',
      `${count(summary.selectedRows)} of ${count(summary.rows)} (${percent(summary.selectedRows / summary.rows)})`,
    ],
    [
      'Tokens picked',
      `${count(summary.selectedTokens)} of ${count(summary.tokens)} (${percent(summary.selectedTokens / summary.tokens)})`,
    ],
    ['Clusters (K)', data.clusters && count(data.clusters.count)],
    [
      'Checkpoints (T)',
      checkpoints && `${count(checkpoints)}, at steps ${Array.from(data.trajectories!.steps, count).join(', ')}`,
    ],
    [
      'Losses',
      run.imported &&
        html`recorded elsewhere, ${count(run.imported.rows)} rows x ${counted(run.imported.columns, 'checkpoint')}, from <code>${run.imported.file}</code>`,
    ],
    ['SHA-256 of the losses', run.imported && html`<code>${run.imported.sha256}</code>`],
    ['Seed', String(run.seed)],
    ['Device', run.device],
    ['Proxy model', proxy && `${proxy.name}, ${scaled(proxy.parameters)} parameters`],
    [
      'Tokenizer',
      proxy?.tokenizer &&
        `${proxy.tokenizer}${proxy.vocabularySize === undefined ? '' : `, ${counted(proxy.vocabularySize, 'token')}`}`,
    ],
    ['Proxy training', proxy && training(proxy)],
    ['Proxy loss on the pool', proxy?.nll !== undefined && `${nats(proxy.nll)} nats a response token`],
    [
      'Bigram model’s loss',
      proxy?.bigramNll !== undefined && `${nats(proxy.bigramNll)} nats a response token (smoothed, same tokens)`,
    ],
    [
      'Target',
      data.target &&
        html`${counted(data.target.rows, 'row')} of ${data.target.files.map((file, i) => html`${i > 0 && ', '}<code>${file}</code>`)}${data.target.contrast && ', to move away from'}`,
    ],
    ...(run.facts ?? []),
  ]
  const seconds = run.timings.reduce((sum, timing) => sum + timing.seconds, 0)
  return html`<section id="run"><h2>What was run</h2>
<p>The same input, command, seed and kind of device give the same pick.</p>
<code class="command">${data.command}</code>
<div class="scroll"><table class="run"><caption>Settings and results</caption><tbody>
${facts.filter(([, value]) => value !== undefined && value !== false && value !== 0).map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${value}</td></tr>\n`)}
</tbody></table></div>
${cost(data, summary)}
${
  run.timings.length > 0 &&
  table(
    'Time of each stage',
    [
      {
        head: 'stage',
        cell: ({ stage, cached }: RunFacts['timings'][number]) => (cached ? `${stage} (from an earlier run)` : stage),
        kind: 'head',
      },
      { head: 'time', cell: (timing) => duration(timing.seconds), kind: 'number' },
      { head: 'share', cell: (timing) => percent(timing.seconds / seconds), kind: 'number' },
    ],
    [...run.timings, { stage: 'all stages', seconds }],
  )
}
${
  run.inputs.length > 0 &&
  table(
    'Input',
    [
      { head: 'file', cell: (input: (typeof run.inputs)[number]) => input.file, kind: 'head' },
      { head: 'rows', cell: (input) => (input.rows === undefined ? '–' : count(input.rows)), kind: 'number' },
      { head: 'size', cell: (input) => (input.bytes === undefined ? '–' : bytes(input.bytes)), kind: 'number' },
      { head: 'SHA-256', cell: (input) => input.sha256 && html`<code>${input.sha256}</code>` },
    ],
    run.inputs,
  )
}
${
  Object.keys(run.versions).length > 0 &&
  table(
    'Versions',
    [
      { head: 'of', cell: ([name]: [string, string]) => name, kind: 'head' },
      { head: 'version', cell: ([, version]) => version },
    ],
    Object.entries(run.versions),
  )
}
</section>`
}

function training({ steps, trainedTokens }: ProxyFacts): string | undefined {
  const parts = [
    steps === undefined ? undefined : counted(steps, 'step'),
    trainedTokens === undefined ? undefined : `${scaled(trainedTokens)} tokens, every epoch counted`,
  ].filter((part) => part !== undefined)
  return parts.length === 0 ? undefined : parts.join(', ')
}

/**
 * FLOPs of the selection and the target size from which it pays: training costs 6 P a token, scoring 2 P a token and
 * checkpoint, and a target of P' parameters saves 6 P' for each token that it does not train on in an epoch.
 */
export function selectionCost({ run, trajectories }: ReportData, { tokens, selectedTokens }: ReportSummary) {
  const { proxy } = run
  if (!proxy || proxy.trainedTokens === undefined || !trajectories) return undefined
  const flops = 6 * proxy.parameters * proxy.trainedTokens + 2 * trajectories.steps.length * proxy.parameters * tokens
  const savedTokens = tokens - selectedTokens
  return { flops, breakEven: savedTokens > 0 ? flops / (6 * savedTokens) : undefined }
}

function cost(data: ReportData, summary: ReportSummary): Html | undefined {
  const selection = selectionCost(data, summary)
  if (!selection) return undefined
  return html`<h3>What the selection cost</h3>
<p>About ${scaled(selection.flops, 'FLOP')}: 6 for each parameter and trained token, 2 for each parameter, token and checkpoint scored.${
    selection.breakEven !== undefined &&
    ` Training on the pick instead of the pool saves 6 for each parameter of the target and token left out, so one epoch pays it back for targets
of more than ${scaled(selection.breakEven)} parameters, three epochs for more than ${scaled(selection.breakEven / 3)}. This counts arithmetic alone, not what
the selection does to the result.`
  }</p>`
}
