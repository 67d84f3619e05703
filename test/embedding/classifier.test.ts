import { describe, expect, it } from 'vitest'
import { openTextClassifier } from '../../src/embedding/classifier.ts'
import { expected, labelGraph, tableGraph, variant } from './encoders.ts'

const config = { model_type: 'bert', max_position_embeddings: 48, id2label: { 0: 'fine', 1: 'toxic' } }
const softmax = (logits: number[]) => {
  const powers = logits.map(Math.exp)
  return powers.map((value) => value / powers.reduce((a, b) => a + b))
}
/** What `labelGraph` gives: thousandths of the sum of ids, and minus half of that. */
const logitsOf = (row: number) => {
  const sum = expected.ids[row].reduce((a, b) => a + b) / 1000
  return [sum, -sum / 2]
}

describe('a classifier', () => {
  it('gives each text probabilities of labels that sum to 1, whatever it is batched with', async () => {
    const model = await variant({ 'onnx/model.onnx': labelGraph(), 'config.json': config })
    await using classifier = await openTextClassifier({ model, tokensPerBatch: 48 })
    expect(classifier.labels).toEqual(['fine', 'toxic'])
    const found = await classifier.probabilities(expected.texts)
    expected.texts.forEach((_, row) => {
      softmax(logitsOf(row)).forEach((value, k) => void expect(found[row * 2 + k]).toBeCloseTo(value, 5))
    })
    expect([...(await classifier.probabilities([expected.texts[4]]))]).toEqual([...found.subarray(8, 10)])
  })

  it('gives each label a probability of its own where labels do not exclude each other', async () => {
    const several = { ...config, problem_type: 'multi_label_classification' }
    const model = await variant({ 'onnx/model.onnx': labelGraph(), 'config.json': several })
    await using classifier = await openTextClassifier({ model })
    const found = await classifier.probabilities([expected.texts[4]])
    logitsOf(4).forEach((logit, k) => void expect(found[k]).toBeCloseTo(1 / (1 + Math.exp(-logit)), 5))
  })

  it('refuses what gives no logits, or not those of its labels', async () => {
    const encoder = await variant({ 'config.json': config })
    await expect(openTextClassifier({ model: encoder })).rejects.toThrow(/no logits of labels.*last_hidden_state/)
    const tokens = await variant({ 'onnx/model.onnx': tableGraph(['logits']), 'config.json': config })
    await expect(openTextClassifier({ model: tokens })).rejects.toThrow(/logits of each token/)
    const three = { ...config, id2label: { 0: 'a', 1: 'b', 2: 'c' } }
    const model = await variant({ 'onnx/model.onnx': labelGraph(), 'config.json': three })
    await expect(openTextClassifier({ model })).rejects.toThrow(/found 2 logits, expected 3/)
  })
})
