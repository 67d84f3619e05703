/** The document around a page's content: style inline, no script, no request. */

import { type Html, html, trustedMarkup } from './html.ts'

/** A whole HTML document. A Content-Security-Policy forbids scripts and requests; light and dark follow the reader's setting. */
export function page({ title, styles, body }: { title: string; styles: string; body: Html }): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="winnow">
<title>${title}</title>
<link rel="icon" href="data:,">
<style>${trustedMarkup(styles)}</style>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`.markup
}
