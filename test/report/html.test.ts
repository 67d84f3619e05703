import fc from 'fast-check'
import { parseHTML } from 'linkedom'
import { describe, expect, it } from 'vitest'
import { escapeText, html, truncate, visibleText } from '../../src/report/html.ts'

/** Any UTF-16 at all, lone surrogates and control characters included; ASCII often, for its markup. */
const anyText = fc
  .array(fc.oneof(fc.nat(0x7f), fc.nat(0xffff)), { maxLength: 60 })
  .map((units) => String.fromCharCode(...units))

describe('html', () => {
  it('escapes strings and leaves nested markup as it is', () => {
    const inner = html`<b>${'<i>'}</b>`
    expect(html`<p title="${'"\'&'}">${inner}${[html`<br>`, 'a<b']}${undefined}${false}${0}</p>`.markup).toBe(
      '<p title="&quot;&#39;&amp;"><b>&lt;i&gt;</b><br>a&lt;b0</p>',
    )
  })

  it('keeps any string as the text of its element and the value of its attribute', () => {
    const texts = fc.array(anyText, { minLength: 10, maxLength: 30 })
    fc.assert(
      fc.property(texts, (all) => {
        const { document } = parseHTML(
          html`<div>${all.map((text) => html`<p title="${text}">${text}</p>`)}</div>`.markup,
        )
        const paragraphs = [...document.querySelector('div')!.children]
        expect(paragraphs.map((p) => p.textContent)).toEqual(all.map(visibleText))
        expect(paragraphs.map((p) => p.getAttribute('title'))).toEqual(all.map(visibleText))
        expect(document.querySelectorAll('div *')).toHaveLength(all.length)
      }),
      { numRuns: 50 },
    )
  })

  it('does not take an object from data for markup', () => {
    const forged = JSON.parse('{"markup":"<script>"}')
    expect(() => html`${forged}`).toThrow()
  })
})

describe('visibleText', () => {
  it('shows bidirectional controls, zero-width characters and control characters', () => {
    expect(visibleText('a\u202eb\u2066c\u200bd\u0000e\u001bf\u0085')).toBe(
      'a[U+202E]b[U+2066]c[U+200B]d\u2400e\u241bf[U+0085]',
    )
  })

  it('keeps line feeds, tabs, emoji sequences and right-to-left letters', () => {
    const text = 'שלום\t👩‍🔬\nmay'
    expect(visibleText(text)).toBe(text)
    expect(visibleText('a\r\nb\rc')).toBe('a\nb\nc')
  })

  it('replaces lone surrogates', () => {
    expect(escapeText('a\ud800b')).toBe('a\ufffdb')
  })
})

describe('truncate', () => {
  it('cuts to the length given, the ellipsis included', () => {
    expect(truncate('abcdef', 6)).toBe('abcdef')
    expect(truncate('abcdefg', 6)).toBe('abcde…')
  })

  it('does not cut a surrogate pair', () => {
    expect(truncate('abc👩def', 5)).toBe('abc…')
  })
})
