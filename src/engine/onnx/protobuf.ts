/** ONNX messages (onnx.proto, IR version 10) as bytes: models, graphs, nodes, tensors. Only what winnow emits. */

import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import type { Shape } from '../shape.ts'

export type OnnxType = 'float32' | 'uint8' | 'int8' | 'int32' | 'int64'
const elementTypes: Record<OnnxType, number> = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7 }

export type OnnxData = Float32Array | Uint8Array | Int8Array | Int32Array | BigInt64Array

/** Strings are emitted as STRING, whole arrays as INTS, integers as INT, `{ float }` as FLOAT. */
export type AttributeValue = number | string | readonly number[] | { float: number } | { graph: OnnxGraph }
export type Attributes = Record<string, AttributeValue>

export interface OnnxNode {
  operator: string
  domain: string
  inputs: readonly string[]
  outputs: readonly string[]
  attributes: Attributes
}

export interface OnnxInitializer {
  name: string
  type: OnnxType
  shape: readonly number[]
  data: OnnxData
  /** Given to ONNX Runtime beside the model, under the initializer's name: a model's own bytes end at 2 GB. */
  external?: boolean
}

export interface OnnxValue {
  name: string
  type: OnnxType
  /** Absent: ONNX Runtime infers it. */
  shape?: Shape
}

export interface OnnxGraph {
  name: string
  nodes: OnnxNode[]
  initializers: OnnxInitializer[]
  inputs: OnnxValue[]
  outputs: OnnxValue[]
}

type Write = (writer: BinaryWriter) => void

const message = (writer: BinaryWriter, field: number, write: Write) => {
  writer.tag(field, WireType.LengthDelimited).fork()
  write(writer)
  writer.join()
}
const text = (writer: BinaryWriter, field: number, value: string) =>
  writer.tag(field, WireType.LengthDelimited).string(value)
const integer = (writer: BinaryWriter, field: number, value: number) => writer.tag(field, WireType.Varint).int64(value)

function writeAttribute(writer: BinaryWriter, name: string, value: AttributeValue): void {
  text(writer, 1, name)
  if (typeof value === 'number') {
    integer(writer, 3, value)
    integer(writer, 20, 2)
  } else if (typeof value === 'string') {
    text(writer, 4, value)
    integer(writer, 20, 3)
  } else if ('float' in value) {
    writer.tag(2, WireType.Bit32).float(value.float)
    integer(writer, 20, 1)
  } else if ('graph' in value) {
    message(writer, 6, (inner) => writeGraph(inner, value.graph))
    integer(writer, 20, 5)
  } else {
    for (const item of value) integer(writer, 8, item)
    integer(writer, 20, 7)
  }
}

function writeValue(writer: BinaryWriter, value: OnnxValue): void {
  text(writer, 1, value.name)
  message(writer, 2, (type) =>
    message(type, 1, (tensor) => {
      integer(tensor, 1, elementTypes[value.type])
      const { shape: dims } = value
      if (dims === undefined) return
      message(tensor, 2, (shape) => {
        for (const dim of dims) {
          message(shape, 1, (entry) => {
            if (typeof dim === 'number') integer(entry, 1, dim)
            else text(entry, 2, dim)
          })
        }
      })
    }),
  )
}

function writeGraph(writer: BinaryWriter, graph: OnnxGraph): void {
  for (const node of graph.nodes) {
    message(writer, 1, (inner) => {
      for (const name of node.inputs) text(inner, 1, name)
      for (const name of node.outputs) text(inner, 2, name)
      text(inner, 4, node.operator)
      for (const [name, value] of Object.entries(node.attributes))
        message(inner, 5, (attribute) => writeAttribute(attribute, name, value))
      text(inner, 7, node.domain)
    })
  }
  text(writer, 2, graph.name)
  for (const { name, type, shape, data, external } of graph.initializers) {
    message(writer, 5, (inner) => {
      for (const dim of shape) integer(inner, 1, dim)
      integer(inner, 2, elementTypes[type])
      text(inner, 8, name)
      if (external) {
        message(inner, 13, (entry) => {
          text(entry, 1, 'location')
          text(entry, 2, name)
        })
        integer(inner, 14, 1)
        return
      }
      inner.tag(9, WireType.LengthDelimited).bytes(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    })
  }
  for (const value of graph.inputs) message(writer, 11, (inner) => writeValue(inner, value))
  for (const value of graph.outputs) message(writer, 12, (inner) => writeValue(inner, value))
}

/** A ModelProto with the default operator set 21 and ONNX Runtime's contributed operators. */
export function encodeModel(graph: OnnxGraph): Uint8Array {
  const writer = new BinaryWriter()
  integer(writer, 1, 10)
  text(writer, 2, 'winnow')
  message(writer, 7, (inner) => writeGraph(inner, graph))
  for (const [domain, version] of [
    ['', 21],
    ['com.microsoft', 1],
  ] as const) {
    message(writer, 8, (inner) => {
      text(inner, 1, domain)
      integer(inner, 2, version)
    })
  }
  return writer.finish()
}
