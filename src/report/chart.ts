/** Observable Plot on the server: a plot drawn into a linkedom document, returned as accessible inline SVG. */

import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import { type Html, html, trustedMarkup, visibleText } from './html.ts'

export interface ChartText {
  /** Unique in the page; ids of the title and description derive from it. */
  id: string
  /** What is drawn, a few words. */
  title: string
  /** What is to be seen, for those who cannot see it. */
  description: string
}

/** The little of the DOM that is used here; the core is compiled without DOM types. */
interface SvgElement {
  outerHTML: string
  textContent: string
  readonly attributes: ArrayLike<{ name: string; value: string }>
  readonly ownerDocument: { createElementNS(namespace: string, name: string): SvgElement }
  querySelectorAll(selector: string): Iterable<SvgElement>
  setAttribute(name: string, value: string): void
  prepend(...children: SvgElement[]): void
  remove(): void
}

const SVG = 'http://www.w3.org/2000/svg'

/** A plot as SVG with `<title>` and `<desc>`. Its style is the page's: the plot's own `<style>` is dropped. */
export function chart(text: ChartText, options: Plot.PlotOptions): Html {
  // A document of its own for each chart: linkedom documents are cheap, and shared ones would keep every chart alive.
  const { document } = parseHTML('<!doctype html><html><body></body></html>')
  const svg = Plot.plot({ ...options, className: 'plot', document } as Plot.PlotOptions) as unknown as SvgElement
  for (const style of [...svg.querySelectorAll('style')]) style.remove()
  for (const element of [svg, ...svg.querySelectorAll('*')]) roundCoordinates(element)
  const title = svg.ownerDocument.createElementNS(SVG, 'title')
  title.setAttribute('id', `${text.id}-title`)
  title.textContent = visibleText(text.title)
  const description = svg.ownerDocument.createElementNS(SVG, 'desc')
  description.setAttribute('id', `${text.id}-desc`)
  description.textContent = visibleText(text.description)
  svg.prepend(title, description)
  svg.setAttribute('role', 'img')
  svg.setAttribute('aria-labelledby', `${text.id}-title ${text.id}-desc`)
  return trustedMarkup(svg.outerHTML)
}

/** Hundredths of a pixel are enough: they halve the size of a page of charts. */
function roundCoordinates(element: SvgElement): void {
  for (const { name, value } of Array.from(element.attributes)) {
    if (!/\d\.\d{3}/.test(value) || name.startsWith('aria-')) continue
    element.setAttribute(
      name,
      value.replace(/-?\d+\.\d{3,}(?:e-\d+)?/g, (number) => String(Number(Number(number).toFixed(2)))),
    )
  }
}

/** Inner widths a full-width chart is drawn at: text must not shrink with the screen, so each screen gets its own drawing. */
export const WIDTHS = { wide: 960, narrow: 340 } as const

/** The same chart for wide and for narrow screens; the style sheet shows one of them. */
export function responsiveChart(text: ChartText, draw: (width: number, narrow: boolean) => Plot.PlotOptions): Html {
  const drawn = (size: 'wide' | 'narrow') =>
    chart({ ...text, id: `${text.id}-${size}` }, { width: WIDTHS[size], ...draw(WIDTHS[size], size === 'narrow') })
  return html`<div class="wide">${drawn('wide')}</div><div class="narrow">${drawn('narrow')}</div>`
}

export interface LegendEntry {
  label: string
  colour: string
  mark: 'line' | 'heavy' | 'dashed' | 'box' | 'dot'
}

/** A legend as an HTML list, so that it wraps on small screens. Colours are the theme's. */
export function legend(entries: readonly LegendEntry[]): Html {
  const swatch = ({ colour, mark }: LegendEntry) => {
    if (mark === 'box') return html`<rect width="18" height="11" rx="2" fill="${colour}"/>`
    if (mark === 'dot') return html`<circle cx="9" cy="6" r="5" fill="${colour}"/>`
    const width = mark === 'heavy' ? 3.5 : 1.75
    return html`<path d="M0,6H18" stroke="${colour}" stroke-width="${width}" stroke-dasharray="${mark === 'dashed' ? '4,3' : 'none'}"/>`
  }
  return html`<ul class="legend">${entries.map(
    (entry) => html`<li><svg width="18" height="12" aria-hidden="true">${swatch(entry)}</svg>${entry.label}</li>`,
  )}</ul>`
}
