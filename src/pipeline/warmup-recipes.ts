/**
 * A warm-up's plan in the words of other trainers. Keys are those of TRL 1.16 (`trl sft`), Axolotl 0.19 and LLaMA-Factory 0.9.5; what a
 * trainer has no word for is left out, and the trainer where it cannot do a stage at all.
 */

import type { WarmupPlan, WarmupPlanStage } from './warmup-plan.ts'

type Value = string | number | boolean | readonly string[] | readonly Fields[] | Fields
type Fields = { readonly [key: string]: Value | undefined }

/** Most rows of a pass: what is over is added up. */
const ROWS_PER_PASS = 8

/** Text of each file by its name; none where a stage has data of a form that no other trainer reads. */
export function recipes(plan: WarmupPlan): Record<string, string> {
  const { layout } = plan.model
  if (layout === 'markers' || plan.stages.some(({ data }) => data.form === 'turns')) return {}
  const files: Record<string, string> = {}
  const add = (trainer: string, command: string, fields: (stage: WarmupPlanStage) => Fields | undefined) => {
    const found = plan.stages.map(fields)
    if (found.includes(undefined)) return
    plan.stages.forEach(({ name }, i) => {
      const file = `${trainer}-${i + 1}-${name}.yaml`
      const told = `# Stage ${i + 1} of 2. From this directory: ${command} ${file}\n`
      files[file] = told + yaml(found[i] as Fields)
    })
  }
  add('trl', 'trl sft --config', (stage) => trl(plan, stage))
  add('axolotl', 'axolotl train', (stage) => axolotl(plan, stage))
  add('llamafactory', 'llamafactory-cli train', (stage) => llamaFactory(plan, stage))
  if (Object.keys(files).some((name) => name.startsWith('llamafactory')))
    files['dataset_info.json'] = `${JSON.stringify(datasetInfo(plan), null, 2)}\n`
  return files
}

/** Rows of a pass and how many passes make a step. */
function passes({ rowsPerStep }: WarmupPlanStage): { rows: number; count: number } {
  let rows = Math.min(ROWS_PER_PASS, rowsPerStep)
  while (rowsPerStep % rows !== 0) rows--
  return { rows, count: rowsPerStep / rows }
}

/** The arguments of transformers' Trainer. */
function trainingArguments({ optimiser, seed }: WarmupPlan, stage: WarmupPlanStage): Fields {
  const { rows, count } = passes(stage)
  return {
    num_train_epochs: stage.epochs,
    per_device_train_batch_size: rows,
    gradient_accumulation_steps: count,
    learning_rate: stage.learningRate,
    lr_scheduler_type: 'cosine',
    warmup_steps: stage.warmupSteps,
    optim: 'adamw_torch',
    adam_beta1: optimiser.beta1,
    adam_beta2: optimiser.beta2,
    adam_epsilon: optimiser.epsilon,
    weight_decay: optimiser.weightDecay,
    max_grad_norm: optimiser.maximumNorm,
    seed,
  }
}

const nameOf = ({ model }: WarmupPlan) => model.id

/** The second stage would have to go on with the first one's adapters, which `trl sft` does not. */
function trl(plan: WarmupPlan, stage: WarmupPlanStage): Fields | undefined {
  if (plan.adapters !== undefined) return undefined
  const first = stage.from === 'model'
  return {
    model_name_or_path: first ? nameOf(plan) : './trl-warmup',
    model_revision: first ? plan.model.revision : undefined,
    datasets: [{ path: 'json', data_files: stage.data.file }],
    output_dir: `./trl-${stage.name}`,
    dataset_text_field: stage.data.form === 'text' ? 'text' : undefined,
    completion_only_loss: stage.data.form === 'prompt-completion' ? true : undefined,
    assistant_only_loss: stage.data.form === 'messages' ? true : undefined,
    max_length: stage.maximumLength,
    packing: false,
    ...trainingArguments(plan, stage),
  }
}

const AXOLOTL_TYPES: Record<string, Fields> = {
  text: { type: 'completion', field: 'text' },
  messages: { type: 'chat_template', field_messages: 'messages', roles_to_train: ['assistant'], train_on_eos: 'turn' },
  'prompt-completion': {
    type: {
      system_prompt: '',
      field_instruction: 'prompt',
      field_output: 'completion',
      format: '{instruction}',
      no_input_format: '{instruction}',
    },
  },
}

function axolotl(plan: WarmupPlan, stage: WarmupPlanStage): Fields {
  const { adapters, optimiser } = plan
  const { rows, count } = passes(stage)
  const first = stage.from === 'model'
  const original = first || adapters !== undefined
  return {
    base_model: original ? nameOf(plan) : './axolotl-warmup',
    revision_of_model: original ? plan.model.revision : undefined,
    ...(adapters && {
      adapter: 'lora',
      lora_model_dir: first ? undefined : './axolotl-warmup',
      lora_r: adapters.rank,
      lora_alpha: adapters.alpha,
      lora_dropout: adapters.dropout,
      lora_target_modules: adapters.modules,
    }),
    datasets: [{ path: stage.data.file, ds_type: 'json', ...AXOLOTL_TYPES[stage.data.form] }],
    dataset_prepared_path: `./axolotl-${stage.name}-prepared`,
    val_set_size: 0,
    output_dir: `./axolotl-${stage.name}`,
    sequence_len: stage.maximumLength,
    sample_packing: false,
    train_on_inputs: false,
    num_epochs: stage.epochs,
    micro_batch_size: rows,
    gradient_accumulation_steps: count,
    learning_rate: stage.learningRate,
    lr_scheduler: 'cosine',
    warmup_steps: stage.warmupSteps,
    optimizer: 'adamw_torch',
    adam_beta1: optimiser.beta1,
    adam_beta2: optimiser.beta2,
    adam_epsilon: optimiser.epsilon,
    weight_decay: optimiser.weightDecay,
    max_grad_norm: optimiser.maximumNorm,
    seed: plan.seed,
  }
}

/** Plain prompts and completions are left out: LLaMA-Factory's `empty` template ends no completion. */
function llamaFactory(plan: WarmupPlan, stage: WarmupPlanStage): Fields | undefined {
  const { form, alternating } = stage.data
  if (form !== 'text' && !(form === 'messages' && alternating)) return undefined
  const { adapters } = plan
  const first = stage.from === 'model'
  const original = first || adapters !== undefined
  return {
    model_name_or_path: original ? nameOf(plan) : './llamafactory-warmup',
    model_revision: original ? plan.model.revision : undefined,
    adapter_name_or_path: adapters && !first ? './llamafactory-warmup' : undefined,
    stage: form === 'text' ? 'pt' : 'sft',
    do_train: true,
    finetuning_type: adapters ? 'lora' : 'full',
    ...(adapters && {
      lora_rank: adapters.rank,
      lora_alpha: adapters.alpha,
      lora_dropout: adapters.dropout,
      lora_target: adapters.modules.join(','),
    }),
    dataset: stage.name,
    dataset_dir: '.',
    cutoff_len: stage.maximumLength,
    packing: false,
    output_dir: `./llamafactory-${stage.name}`,
    ...trainingArguments(plan, stage),
  }
}

/** What LLaMA-Factory knows of the data. */
function datasetInfo({ stages }: WarmupPlan): Fields {
  const described = ({ data }: WarmupPlanStage): Fields =>
    data.form === 'text'
      ? { file_name: data.file, columns: { prompt: 'text' } }
      : {
          file_name: data.file,
          formatting: 'sharegpt',
          columns: { messages: 'messages' },
          tags: {
            ...{ role_tag: 'role', content_tag: 'content', user_tag: 'user' },
            ...{ assistant_tag: 'assistant', system_tag: 'system' },
          },
        }
  return Object.fromEntries(stages.map((stage) => [stage.name, described(stage)]))
}

/** Strings in double quotes as JSON has them, which is YAML too. */
function scalar(value: string | number | boolean): string {
  const text = JSON.stringify(value)
  // YAML 1.1 takes a number in scientific notation for text where it has no point.
  return typeof value === 'number' && /^-?\d+e/.test(text) ? text.replace('e', '.0e') : text
}

function yaml(fields: Fields, indent = ''): string {
  let text = ''
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue
    if (Array.isArray(value)) {
      text += `${indent}${key}:\n`
      for (const item of value as (string | Fields)[]) {
        const lines = typeof item === 'string' ? `${indent}    ${scalar(item)}\n` : yaml(item, `${indent}    `)
        text += `${indent}  - ${lines.slice(indent.length + 4)}`
      }
    } else if (typeof value === 'object') text += `${indent}${key}:\n${yaml(value as Fields, `${indent}  `)}`
    else text += `${indent}${key}: ${scalar(value)}\n`
  }
  return text
}
