/** Plain named arrays: model parameters, optimiser moments, the content of a safetensors file. */
export type TensorMap = Map<string, { shape: number[]; data: Float32Array }>
