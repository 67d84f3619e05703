/** What selection costs, what a pick saves, and from where on it pays. */

import { type Comparison, FULL, type SelectionCost } from './comparison.ts'

/**
 * Least ratios of target to selecting model from which selection paid, as published (Yin and Rush, "Compute-Constrained Data
 * Selection", arXiv 2410.16208): for scorers by perplexity, and for scorers by gradients, of which there is none here.
 */
const PUBLISHED_RATIOS = { perplexity: 5, gradients: 10 }
const PERPLEXITY_SCORERS = ['middle-perplexity', 'high-learnability', 'ifd']

export interface Cost {
  flops: number
  seconds: number
}

export interface ComparisonCosts {
  /** Epochs that a pick is taken to save: those of the comparison, or 1 where it held steps equal. */
  epochs: number
  /** 6 E P D + 2 T P D of a proxy that is trained E epochs on the D tokens of the pool and scores them at T checkpoints. */
  formula?: { flops: number; parameters: number; tokens: number; epochs: number; checkpoints: number }
  /** Parameters of the target over those of the proxy, and the ratios from which selection paid elsewhere. */
  ratio?: number
  published: { perplexity: number; gradients: number }
  /** Of the targets trained here, all together: the rate, and the FLOPs counted for a token beside the 6 P of the formula. */
  target: { secondsPerToken?: number; flopsPerToken?: number; formulaFlopsPerToken: number }
  methods: MethodCost[]
  /** Each signal once, with the labels of all methods that read it. */
  signals: (Cost & { name: string; methods: string[] })[]
  /** The whole comparison: selection with signals shared, what it would have been without sharing, and all training. */
  whole: { selection: Cost; alone: Cost; training: Cost & { tokens: number; targets: number } }
}

export interface MethodCost extends Cost {
  method: string
  /** Tokens that the target could have trained on for the same FLOPs: F / 6 P. */
  tokens: number
  money?: number
  /** The published rule of thumb, where it is about methods like this one. */
  rule?: { above: number; kept: boolean }
  budgets: BudgetCost[]
}

/** What a pick saves against training on the whole pool for as many epochs. */
export interface BudgetCost {
  budget: number
  /** Mean over seeds. */
  selected: { rows: number; tokens: number }
  /** E (D - D_selected) tokens, 6 P as many FLOPs, the seconds that they take here. */
  saved: { tokens: number; flops: number; seconds?: number; money?: number }
  /** The selection costs less than the pick saves: in FLOPs, and by the clock of this machine. */
  pays: { flops: boolean; seconds?: boolean }
  /**
   * Where cost and savings are equal, the rest as it is: size of the target (parameters), epochs, and tokens selected (absent where
   * no pick is small enough). Absent where the pick saves nothing.
   */
  breakEven?: { parameters: number; epochs: number; tokens?: number }
  /** The same by the clock; the size supposes that time grows as parameters do. */
  clock?: { parameters: number; epochs: number }
}

/**
 * Costs of every method with a cost and a cell. Selection is what was counted, signals included, as if the method had been run
 * alone; a pick saves 6 P E (D - D_selected) FLOPs. The target pays above F / (6 E (D - D_selected)) parameters, after
 * F / (6 P (D - D_selected)) epochs, with picks below D - F / (6 P E) tokens. Money: FLOPs at `perFlop`, else training tokens at
 * `perMillionTokens`, where selection counts as the tokens that the target would train on for the same FLOPs. O(methods x budgets x seeds).
 */
export function costsOf(comparison: Comparison): ComparisonCosts {
  const { cells, costs, proxy, target, pool, price } = comparison
  const epochs = comparison.training === 'epochs' ? (comparison.epochs ?? 1) : 1
  const ratio = proxy && target.parameters / proxy.parameters
  const trained = cells.filter(({ training }) => training.tokens > 0)
  const training = { flops: 0, seconds: 0, tokens: 0, targets: trained.length }
  for (const cell of trained) {
    training.flops += cell.training.flops
    training.seconds += cell.training.seconds
    training.tokens += cell.training.tokens
  }
  const perToken = (sum: number) => (training.tokens > 0 ? sum / training.tokens : undefined)
  const secondsPerToken = perToken(training.seconds)
  const signals = signalsOf(costs)
  return {
    epochs,
    formula: formulaOf(comparison),
    ratio,
    published: PUBLISHED_RATIOS,
    target: {
      secondsPerToken,
      flopsPerToken: perToken(training.flops),
      formulaFlopsPerToken: 6 * target.parameters,
    },
    methods: costs
      .filter(({ method }) => cells.some((cell) => cell.method === method && method !== FULL))
      .map((cost) => methodCost(comparison, cost, epochs, secondsPerToken)),
    signals,
    whole: { selection: shared(costs, signals), alone: total(costs), training },
  }

  function methodCost(
    { methods, budgets }: Comparison,
    { method, flops, seconds }: SelectionCost,
    epochs: number,
    secondsPerToken: number | undefined,
  ): MethodCost {
    const equivalent = flops / (6 * target.parameters)
    const name = methods.find(({ label }) => label === method)?.name
    const rule =
      ratio !== undefined && name !== undefined && PERPLEXITY_SCORERS.includes(name)
        ? { above: PUBLISHED_RATIOS.perplexity, kept: ratio > PUBLISHED_RATIOS.perplexity }
        : undefined
    return {
      ...{ method, flops, seconds, tokens: equivalent, money: money(equivalent, flops), rule },
      budgets: budgets.flatMap((_, budget) => {
        const picks = cells.filter((cell) => cell.method === method && cell.budget === budget)
        return picks.length === 0 ? [] : [budgetCost(budget, picks)]
      }),
    }

    function budgetCost(budget: number, picks: Comparison['cells']): BudgetCost {
      const mean = (of: (cell: Comparison['cells'][number]) => number) =>
        picks.reduce((sum, cell) => sum + of(cell), 0) / picks.length
      const selected = { rows: mean((cell) => cell.selected.rows), tokens: mean((cell) => cell.selected.tokens) }
      const left = Math.max(0, pool.tokens - selected.tokens)
      const savedFlops = 6 * target.parameters * epochs * left
      const savedSeconds = secondsPerToken === undefined ? undefined : secondsPerToken * epochs * left
      const most = pool.tokens - flops / (6 * target.parameters * epochs)
      const clockEpochs = secondsPerToken && left > 0 ? seconds / (secondsPerToken * left) : undefined
      return {
        budget,
        selected,
        saved: {
          tokens: epochs * left,
          flops: savedFlops,
          seconds: savedSeconds,
          money: money(epochs * left, savedFlops),
        },
        pays: { flops: flops < savedFlops, seconds: savedSeconds === undefined ? undefined : seconds < savedSeconds },
        breakEven:
          left === 0
            ? undefined
            : {
                parameters: flops / (6 * epochs * left),
                epochs: flops / (6 * target.parameters * left),
                tokens: most > 0 ? most : undefined,
              },
        clock:
          clockEpochs === undefined
            ? undefined
            : { epochs: clockEpochs, parameters: (target.parameters * clockEpochs) / epochs },
      }
    }
  }

  function money(tokens: number, flops: number): number | undefined {
    if (price?.perFlop !== undefined) return price.perFlop * flops
    if (price?.perMillionTokens !== undefined) return (price.perMillionTokens * tokens) / 1e6
    return undefined
  }
}

/** METHODS: 18 P D + 2 T P D for the three epochs of the paper; here for as many epochs as the proxy was trained. */
function formulaOf({ proxy, pool }: Comparison): ComparisonCosts['formula'] {
  if (proxy?.epochs === undefined || proxy.checkpoints === undefined) return undefined
  const { parameters, epochs, checkpoints } = proxy
  const flops = (6 * epochs + 2 * checkpoints) * parameters * pool.tokens
  return { flops, parameters, tokens: pool.tokens, epochs, checkpoints }
}

/** Signals by name, in the order in which methods first read them. */
function signalsOf(costs: readonly SelectionCost[]): ComparisonCosts['signals'] {
  const byName = new Map<string, ComparisonCosts['signals'][number]>()
  for (const { method, signals } of costs) {
    for (const { name, seconds, flops, sharedWith } of signals) {
      const signal = byName.get(name) ?? { name, seconds, flops, methods: [] }
      signal.methods = [...new Set([...signal.methods, method, ...sharedWith])]
      byName.set(name, signal)
    }
  }
  return [...byName.values()]
}

function total(costs: readonly Cost[]): Cost {
  return {
    flops: costs.reduce((sum, cost) => sum + cost.flops, 0),
    seconds: costs.reduce((sum, cost) => sum + cost.seconds, 0),
  }
}

/** What is each method's own, and every signal once. */
function shared(costs: readonly SelectionCost[], signals: ComparisonCosts['signals']): Cost {
  const alone = total(costs)
  const read = total(costs.flatMap((cost) => cost.signals))
  const once = total(signals)
  return { flops: alone.flops - read.flops + once.flops, seconds: alone.seconds - read.seconds + once.seconds }
}
