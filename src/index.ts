/** The public API: re-exports only. Importing it loads neither ONNX Runtime nor DuckDB. */

export type { AblatedPick, Ablation } from './analysis/ablation.ts'
export { adjustedRand } from './analysis/agreement.ts'
export type { Analysis, ClusterTopics, GradientFacts, GradientsAtCheckpoint } from './analysis/data.ts'
export { type EffectiveCost, effectiveCosts, effectiveSlope, effectiveWeights } from './analysis/effective.ts'
export {
  gradientSimilarity,
  type SimilarityOptions,
  type SimilarityTest,
  sampleGroups,
} from './analysis/gradient-similarity.ts'
export {
  type ExpectedOverlap,
  expectedOverlap,
  jaccard,
  type NamedPick,
  type OverlapTable,
  overlapTable,
  sharedRows,
} from './analysis/overlap.ts'
export {
  type Chance,
  type ClusterTopic,
  type TopicShift,
  type TopicsOfClusters,
  topicShift,
  topicsOfClusters,
} from './analysis/topics.ts'
export type { Difference } from './answers/against.ts'
export { type EvaluateResult, evaluate } from './answers/evaluate.ts'
export type { AnswerLine } from './answers/lines.ts'
export type { EvaluationMetric, ScoreName } from './answers/metrics.ts'
export type { EvaluateOptions } from './answers/options.ts'
export { type KMeansOptions, type KMeansResult, kmeans, type Points } from './clustering/kmeans.ts'
export { type CompareResult, compare } from './comparison/compare.ts'
export type { CompareOptions } from './comparison/options.ts'
export { type ComparePlan, planCompare } from './comparison/plan.ts'
export { type Dataset, type DatasetOptions, openDataset } from './dataset/dataset.ts'
export { checkOutput } from './dataset/output.ts'
export type { PoolRecord, Role, Turn } from './dataset/record.ts'
export { type WriteOptions, type WrittenSelection, writeSelection } from './dataset/selection.ts'
export { type ClassifierOptions, openTextClassifier, type TextClassifier } from './embedding/classifier.ts'
export type { Embedder, EmbedderIdentity, EmbedOptions } from './embedding/embedder.ts'
export { type Encoder, type EncoderCounts, type EncoderOptions, openEncoder } from './embedding/encoder.ts'
export { type HiddenStates, type HiddenStatesOptions, openHiddenStates } from './embedding/hidden-states.ts'
export { fitNgrams, type NgramModel, type NgramOptions, ngramEmbedder, readNgramModel } from './embedding/ngrams.ts'
export {
  type EncodedText,
  openTokenEncoder,
  type TokenEncoder,
  type TokenEncoderOptions,
} from './embedding/token-vectors.ts'
export type { Device, DeviceName, OrtApi } from './engine/session.ts'
export { type Fault, formatFault, WinnowError } from './errors.ts'
export {
  extractAnswer,
  needsProgram,
  plainAnswer,
  programSource,
  type SameAnswerOptions,
  sameAnswer,
} from './evaluation/answers.ts'
export { type BertScore, bertScore, idfWeights, plainWeights, type TokenVectors } from './evaluation/bert-score.ts'
export { type Bigram, fitBigram, heldOutBigramNll } from './evaluation/bigram.ts'
export { type Bleu, corpusBleu, sentenceBleu, tokenize13a } from './evaluation/bleu.ts'
export { type Classification, type ClassScores, classify } from './evaluation/classification.ts'
export type { Cell, Comparison, SelectionCost } from './evaluation/comparison.ts'
export type { ComparisonCosts } from './evaluation/costs.ts'
export { type Rouge, type RougeOptions, rouge1, rouge2, rougeL, rougeLsum } from './evaluation/rouge.ts'
export {
  type BootstrapOptions,
  type Comparison as PairedComparison,
  compareWith,
  type Interval,
  pairedBootstrap,
} from './evaluation/statistics.ts'
export { type CompareWith, type Summary, summarise } from './evaluation/summary.ts'
export {
  classifierToxicity,
  expectedMaximumToxicity,
  scoreToxicity,
  TOXICITY_PROTOCOL,
  type Toxicity,
  type ToxicityScorer,
} from './evaluation/toxicity.ts'
export { toxicityFile } from './evaluation/toxicity-file.ts'
export {
  compileGenerator,
  type Generated,
  type GenerateOptions,
  type Generator,
  type GeneratorOptions,
} from './generation/generator.ts'
export { endTokens, promptTokens, referenceTokens } from './generation/prompts.ts'
export type { Sampling } from './generation/sampling.ts'
export type { ModelFiles } from './hub/model-files.ts'
export { type ResolveOptions, resolveModel } from './hub/resolve.ts'
export { bucketCounter, importanceWeigher, logRatio } from './importance/importance.ts'
export { allocate } from './methods/allocation.ts'
export { parseBudget, type ResolvedBudget, resolveBudget } from './methods/budget.ts'
export type {
  Method,
  Notice,
  Reference,
  Selection,
  SelectionGroup,
  SelectionInput,
  SignalNeed,
} from './methods/method.ts'
export { describeOptions, parseOptions } from './methods/options.ts'
export { findMethod, methods } from './methods/registry.ts'
export { languageModel } from './models/config.ts'
export type { LanguageModel } from './models/model.ts'
export { readSafetensors, writeSafetensors } from './models/safetensors.ts'
export { workerThreads } from './parallel/threads.ts'
export { type AblateContext, type AblateResult, ablate } from './pipeline/ablate.ts'
export type { AblateOptions } from './pipeline/ablate-options.ts'
export { analyse } from './pipeline/analyse.ts'
export type { AnalyseOptions, AnalyseResult } from './pipeline/analyse-options.ts'
export type { OnEvent, PipelineEvent, Section, StageName, StageProgress, Step } from './pipeline/events.ts'
export { type ExplainOptions, type Explanation, explainRow } from './pipeline/explain.ts'
export {
  type GeneratedText,
  type GenerateTextsOptions,
  type GenerateTextsResult,
  generateTexts,
} from './pipeline/generate.ts'
export type { SelectContext, SelectOptions } from './pipeline/options.ts'
export { planSelect } from './pipeline/plan.ts'
export type { SelectPlan, SelectResult } from './pipeline/result.ts'
export { type ScoreOptions, type ScoreResult, score } from './pipeline/score.ts'
export { select } from './pipeline/select.ts'
export { type TrainOptions, type TrainResult, train } from './pipeline/train.ts'
export {
  exportWarmup,
  type WarmupPlanResult,
  type WarmupResult,
  type WarmupStageResult,
  warmup,
} from './pipeline/warmup.ts'
export { estimateWarmup, type StageEstimate, type WarmupEstimate } from './pipeline/warmup-estimate.ts'
export type { WarmupData, WarmupOptions } from './pipeline/warmup-options.ts'
export type { WarmupPlan } from './pipeline/warmup-plan.ts'
export { type AblationPage, buildAblation } from './report/ablation.ts'
export { type AnalysisPage, buildAnalysis } from './report/analysis.ts'
export { buildComparisonReport } from './report/comparison.ts'
export { comparisonMarkdown } from './report/comparison-markdown.ts'
export type { ReportData } from './report/data.ts'
export { buildReport } from './report/report.ts'
export {
  openProgramRunner,
  type ProgramResult,
  type ProgramRunner,
  type ProgramRunnerOptions,
} from './sandbox/program.ts'
export { readNpy, writeNpy } from './signals/npy.ts'
export { type Signal, type Signals, signal } from './signals/signal.ts'
export { FIXED_ONE } from './similarity/fixed-point.ts'
export { type GraphOptions, type NeighbourGraph, neighbourGraph } from './similarity/graph.ts'
export { type Distinct, type DistinctOptions, keepDistinct } from './similarity/near-pairs.ts'
export {
  type NeighbourOptions,
  type NeighbourSearch,
  type Neighbours,
  NO_ROW,
  openNeighbours,
} from './similarity/neighbours.ts'
export type { Vectors } from './similarity/vectors.ts'
export { type FacilityOptions, facilityOrder } from './submodular/facility-location.ts'
export { type CenterOptions, type Centers, centerOrder } from './submodular/k-center.ts'
export type { Order } from './submodular/lazy-greedy.ts'
export { loadTokenizer } from './tokenizer/load.ts'
export { loadPretrainedTokenizer, type PretrainedOptions } from './tokenizer/pretrained.ts'
export type { Tokenizer } from './tokenizer/tokenizer.ts'
export { type TrainTokenizerOptions, trainTokenizer } from './tokenizer/train.ts'
export {
  compileExampleGradients,
  type ExampleGradientOptions,
  type ExampleGradients,
} from './training/example-gradients.ts'
export { gramMatrix } from './training/gradient-gram.ts'
export { type GradientSketch, gradientSketch, sketchDimensions } from './training/gradient-sketch.ts'
export { sampleCost } from './transport/cost.ts'
export { calibratedGradient } from './transport/gradient.ts'
export {
  type CandidateScorer,
  type CandidateScores,
  openScorer,
  type ScorerOptions,
  type Solved,
} from './transport/scorer.ts'
export { type SinkhornOptions, sinkhorn, type Transport, type TransportProblem } from './transport/sinkhorn.ts'
