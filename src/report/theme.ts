/**
 * Colours of the page and its charts, once. Two data colours carry everything: `pool` (all rows) and `picked`. They differ in
 * lightness as well as hue (blue-grey against orange), so they stay apart for every kind of colour vision and in grey print.
 */

/** CSS custom properties; charts refer to them, so one SVG serves both schemes. */
export const COLOUR = {
  ink: 'var(--ink)',
  muted: 'var(--muted)',
  surface: 'var(--surface)',
  pool: 'var(--pool)',
  picked: 'var(--picked)',
} as const

const LIGHT = `
  --page: #f6f7f9; --surface: #ffffff; --line: #dfe3e8; --ink: #1b2330; --muted: #5c6675;
  --pool: #a3b1c6; --picked: #c4500c; --link: #0b5cad; --warning: #fff4d6; --warning-line: #d9a400;`

const DARK = `
  --page: #11151b; --surface: #191f28; --line: #2f3845; --ink: #e6eaf0; --muted: #a0abba;
  --pool: #5f7190; --picked: #ffa657; --link: #7db7ff; --warning: #33290d; --warning-line: #b08800;`

/** The page's style sheet. No external font, image or import. */
export const STYLESHEET = `
:root { color-scheme: light dark; ${LIGHT} }
@media (prefers-color-scheme: dark) { :root { ${DARK} } }
@media print { :root { color-scheme: light; ${LIGHT} --page: #ffffff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; line-height: 1.25; margin: 0 0 .5rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .5rem; }
p { margin: 0 0 .9rem; max-width: 72ch; }
a { color: var(--link); }
code, pre { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .875em; }
.lead { font-size: 1.15rem; }
.eyebrow { color: var(--muted); font-size: .875rem; margin: 0 0 .25rem; }
.command { display: block; white-space: pre-wrap; overflow-wrap: anywhere; background: var(--surface);
  border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; margin: 0 0 1rem; }
section { background: var(--surface); border: 1px solid var(--line); border-radius: 10px; padding: 1.4rem 1.5rem; margin: 1.25rem 0 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .75rem; margin: 1.25rem 0 0; padding: 0; }
.facts div { background: var(--surface); border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1rem; }
.facts dt { color: var(--muted); font-size: .875rem; }
.facts dd { margin: 0; font-size: 1.5rem; font-weight: 600; line-height: 1.25; font-variant-numeric: tabular-nums; }
.facts .note { display: block; margin-top: .2rem; line-height: 1.35; font-size: .875rem; font-weight: 400; color: var(--muted); }
.warnings { background: var(--warning); border: 1px solid var(--warning-line); border-radius: 10px; padding: .9rem 1.25rem; margin: 1.25rem 0 0; }
.warnings ul { margin: .25rem 0 0; padding-left: 1.2rem; }
figure { margin: 1rem 0 0; }
figcaption { font-size: .875rem; color: var(--muted); max-width: 72ch; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .75rem 0 0; padding: 0; list-style: none; font-size: .875rem; color: var(--muted); }
.legend svg { vertical-align: -1px; margin-right: .4rem; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(270px, 1fr)); gap: 1rem 1.25rem; margin-top: 1rem; }
.panels figure { margin: 0; }
.panels figcaption strong { display: block; color: var(--ink); overflow-wrap: anywhere; }
.plot { display: block; width: 100%; height: auto; font-size: 12px; --plot-background: var(--surface); }
.plot text, .plot tspan { white-space: pre; }
.narrow { display: none; }
details { margin-top: 1rem; }
summary { cursor: pointer; color: var(--link); font-size: .9rem; }
.scroll { overflow-x: auto; margin-bottom: 1.1rem; }
section > .scroll:last-child, details > .scroll:last-child { margin-bottom: 0; }
table { border-collapse: collapse; font-size: .875rem; margin-top: .6rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); padding-bottom: .3rem; }
th, td { padding: .3rem .9rem .3rem 0; text-align: left; vertical-align: top; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--muted); font-weight: 500; white-space: nowrap; }
tbody th { font-weight: 500; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.text { min-width: 16rem; overflow-wrap: anywhere; }
.run th { white-space: nowrap; color: var(--muted); }
.run td { overflow-wrap: anywhere; }
.examples { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 0 1.5rem; }
.example { border-left: 3px solid var(--pool); padding: 0 0 0 .9rem; margin: 0 0 1.25rem; }
.example.picked { border-left-color: var(--picked); }
.example header { font-size: .875rem; color: var(--muted); margin-bottom: .3rem; overflow-wrap: anywhere; }
.example header strong { color: var(--ink); }
.example .text { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .9rem; line-height: 1.45; margin: 0; unicode-bidi: isolate; }
footer { color: var(--muted); font-size: .875rem; margin-top: 1.5rem; }
@media (max-width: 640px) {
  main { padding: 1.25rem .75rem 3rem; }
  section { padding: 1.1rem 1rem; }
  .wide { display: none; }
  .narrow { display: block; }
}
@media print {
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  section { border: 0; border-top: 1px solid var(--line); border-radius: 0; padding: 1rem 0; }
  figure, .example, .facts div, tr { break-inside: avoid; }
  h2, h3, .legend, .command { break-after: avoid; }
  .facts { grid-template-columns: repeat(5, 1fr); }
  .facts dd { font-size: 1.2rem; }
  .examples { grid-template-columns: 1fr 1fr; }
  details:not([open]) { display: none; }
  .panels { grid-template-columns: repeat(3, 1fr); }
  * { print-color-adjust: exact; }
}
`

/** What pages of runs with a target add. */
export const TARGET_STYLES = `
.example.target { border-left-color: var(--ink); }
.example .near { font-size: .875rem; line-height: 1.45; color: var(--muted); margin: .35rem 0 0; padding-left: .8rem;
  border-left: 1px solid var(--line); overflow-wrap: anywhere; }
.examples h3:not(:first-child) { margin-top: 1.75rem; }
`

/** What pages of comparisons add. */
export const COMPARISON_STYLES = `
.findings { margin: .75rem 0 0; padding-left: 1.2rem; max-width: 78ch; }
.findings li { margin-bottom: .4rem; }
.results td { white-space: nowrap; padding-right: 1.4rem; }
.results tbody th { position: sticky; left: 0; background: var(--surface); min-width: 10.5rem; max-width: 15rem; overflow-wrap: anywhere; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.results .difference { display: block; color: var(--muted); }
.results .better .difference { color: var(--picked); }
.results .worse .difference { color: var(--ink); }
.results .reference th, .results .reference td { border-top-style: dashed; }
h3 + figure { margin-top: .25rem; }
@media (max-width: 640px) { .results tbody th { min-width: 8.5rem; max-width: 8.5rem; } }
`
