/**
 * Takes a chart out of a page that winnow wrote, as an SVG that stands by itself: the page's colours in place of its variables.
 * Usage: node scripts/page-figure.ts <page.html> <id> <out.svg>, the id as in the page: overlap-wide, top-topic-wide, topics-shares-wide, …
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { parseHTML } from 'linkedom'

const [page, id, out] = process.argv.slice(2)
if (out === undefined) throw new Error('usage: node scripts/page-figure.ts <page.html> <id> <out.svg>')

/** The light ones of report/theme.ts. */
const COLOURS: Record<string, string> = {
  '--ink': '#1b2330',
  '--muted': '#5c6675',
  '--surface': '#ffffff',
  '--pool': '#a3b1c6',
  '--picked': '#c4500c',
  '--plot-background': '#ffffff',
}

const { document } = parseHTML(readFileSync(page, 'utf8'))
const svg = [...document.querySelectorAll('svg')].find(
  (element) => element.getAttribute('aria-labelledby') === `${id}-title ${id}-desc`,
)
if (svg === undefined) throw new Error(`${page} has no chart ${id}`)
svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
svg.setAttribute('font-family', 'system-ui, sans-serif')
svg.setAttribute('font-size', '12')
svg.setAttribute('style', 'background: #ffffff')
svg.setAttribute('color', '#1b2330')
const text = svg.outerHTML.replace(/var\((--[a-z-]+)\)/g, (_: string, name: string) => COLOURS[name] ?? 'currentColor')
writeFileSync(out, `${text}\n`)
