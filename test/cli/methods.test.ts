import { expect, it } from 'vitest'
import { fixture, winnow } from './command.ts'

it('methods prints a page of them on standard output', async () => {
  const { code, stdout, stderr } = await winnow(['methods'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  await expect(stdout).toMatchFileSnapshot(fixture('methods.txt'))
})

it('methods --json has what the page has', async () => {
  const [page, data] = await Promise.all([winnow(['methods']), winnow(['methods', '--json'])])
  const { methods } = JSON.parse(data.stdout)
  const words = (text: string) => text.replaceAll(/\s+/g, ' ')
  for (const { name, title, summary, reference, options } of methods) {
    for (const text of [name, title, summary, reference?.url ?? '']) expect(words(page.stdout)).toContain(text)
    for (const option of options) {
      expect(words(page.stdout)).toContain(words(`${option.flag} ${option.description} (default: ${option.default})`))
    }
  }
  expect(methods.map(({ name }: { name: string }) => name)).toContain('s2l')
})
