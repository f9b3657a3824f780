/** Segment rules as the builder edits them, and as the API reads them. Knows no screen and no network. */
import type { Kind } from './types'

export type RuleValue = string | number | boolean | string[]

/** A comparison inside an event or a record: `total ≥ 20`. */
export interface Where { id: number; name: string; op: string; value: RuleValue }

interface Base { id: number; negate: boolean }
export interface GroupNode extends Base { type: 'all' | 'any'; children: Node[] }
export interface AttributeNode extends Base { type: 'attribute'; name: string; op: string; value: RuleValue }
/** One of a set of names: has a tag, is in a group, is in a segment. */
export interface NamedNode extends Base { type: 'tag' | 'group' | 'segment'; name: string }
export interface EventNode extends Base { type: 'event'; name: string; op: string; count: number; within: string; where: Where[] }
export interface TableNode extends Base { type: 'table'; name: string; where: Where[]; aggregate: Aggregate; field: string; op: string; value: RuleValue }
/** Agreed, or took it back, on a channel (and topic, where one is named). */
export interface ConsentNode extends Base { type: 'consent'; name: string; topic: string; state: 'granted' | 'withdrawn' }
/** A condition that the builder does not know; kept as it is. */
export interface OtherNode extends Base { type: 'other'; json: unknown }
export type Node = GroupNode | AttributeNode | NamedNode | EventNode | TableNode | ConsentNode | OtherNode

export const AGGREGATES = ['count', 'sum', 'avg', 'min', 'max'] as const
export type Aggregate = (typeof AGGREGATES)[number]

/** Comparisons of a number of things. */
export const COUNT_OPS: Record<string, string> = { gte: 'at least', eq: 'exactly', lte: 'at most', gt: 'more than', lt: 'fewer than' }

let last = 0
export const nextId = () => (last += 1)

export function emptyGroup(type: 'all' | 'any' = 'all'): GroupNode {
  return { id: nextId(), type, negate: false, children: [] }
}

const OP_WORDS: Record<string, string> = {
  eq: 'is', ne: 'is not', gt: 'is more than', gte: 'is at least', lt: 'is less than', lte: 'is at most', in: 'is one of', contains: 'contains',
  starts_with: 'starts with', ends_with: 'ends with', matches: 'matches the pattern', exists: 'is known', before: 'is before', after: 'is after',
  within: 'is in the last', anniversary_within: 'has its anniversary in the next',
}
const OP_WORDS_BY_KIND: Partial<Record<Kind, Record<string, string>>> = {
  list: { contains: 'has', eq: 'is exactly', in: 'has one of' },
  date: { gt: 'is after', gte: 'is on or after', lt: 'is before', lte: 'is on or before' },
  timestamp: { gt: 'is after', gte: 'is at or after', lt: 'is before', lte: 'is at or before' },
}

export function opWords(op: string, kind?: Kind): string {
  return (kind && OP_WORDS_BY_KIND[kind]?.[op]) ?? OP_WORDS[op] ?? op
}

const OPS: Record<'text' | 'number' | 'date' | 'boolean' | 'list', string[]> = {
  text: ['eq', 'ne', 'in', 'contains', 'starts_with', 'ends_with', 'exists'],
  number: ['eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'exists'],
  date: ['before', 'after', 'within', 'anniversary_within', 'eq', 'exists'],
  boolean: ['eq', 'exists'],
  list: ['contains', 'exists'],
}

function family(kind: Kind): keyof typeof OPS {
  if (kind === 'integer' || kind === 'decimal' || kind === 'money') return 'number'
  if (kind === 'date' || kind === 'timestamp') return 'date'
  return kind === 'boolean' || kind === 'list' ? kind : 'text'
}

/** Operators for a kind, when the API does not say. Event properties have no kind and take them all. */
export function opsFor(kind: Kind | undefined): string[] {
  return kind ? OPS[family(kind)] : ['eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'contains', 'exists']
}

/** How the value of a comparison is typed in. */
export type Editor = 'none' | 'text' | 'number' | 'date' | 'boolean' | 'days' | 'words'

export function editorFor(kind: Kind | undefined, op: string): Editor {
  if (op === 'exists') return 'none'
  if (op === 'within' || op === 'anniversary_within') return 'days'
  if (op === 'in') return 'words'
  if (!kind) return 'text'
  const of = family(kind)
  return of === 'list' ? 'text' : of
}

/** A value to begin with, so that a fresh condition is never nonsense of another kind. */
export function firstValue(editor: Editor): RuleValue {
  if (editor === 'none' || editor === 'boolean') return true
  if (editor === 'days') return '30d'
  if (editor === 'words') return []
  return ''
}

/** Whether enough is filled in for the server to judge. */
export function complete(node: Node): boolean {
  switch (node.type) {
    case 'all': case 'any': return node.children.every(complete)
    case 'attribute': return node.name !== '' && filled(node.value)
    case 'tag': case 'group': case 'segment': return node.name !== ''
    case 'event': return node.name !== '' && node.where.every((where) => where.name !== '' && filled(where.value))
    case 'table': return node.name !== '' && filled(node.value) && (node.aggregate === 'count' || node.field !== '') && node.where.every((where) => where.name !== '' && filled(where.value))
    case 'consent': case 'other': return true
  }
}

function filled(value: RuleValue): boolean {
  return Array.isArray(value) ? value.length > 0 : value !== ''
}

type Json = Record<string, unknown>

/** The rule as the API takes it. `paths` learns which node stands at which path of the JSON, for faults. */
export function toRule(node: Node, paths?: Map<string, number>, path = 'rule'): Json {
  if (node.negate) {
    paths?.set(path, node.id)
    return { not: toRule({ ...node, negate: false }, paths, `${path}.not`) }
  }
  paths?.set(path, node.id)
  switch (node.type) {
    case 'all': case 'any':
      return { [node.type]: node.children.map((child, index) => toRule(child, paths, `${path}.${node.type}[${index}]`)) }
    case 'attribute': return { attribute: node.name, ...test(node) }
    case 'tag': case 'group': case 'segment': return { [node.type]: node.name }
    case 'event': {
      const json: Json = { event: node.name }
      if (node.where.length) json.where = node.where.map((where) => ({ property: where.name, ...test({ op: where.op, value: guess(where) }) }))
      if (node.within) json.within = node.within
      json.count = { [node.op]: node.count }
      return json
    }
    case 'table': {
      const json: Json = { table: node.name }
      if (node.where.length) json.where = node.where.map((where) => ({ field: where.name, ...test(where) }))
      if (node.aggregate === 'count') json.count = { [node.op]: Number(node.value) }
      else { json[node.aggregate] = node.field; json[node.op] = node.value }
      return json
    }
    case 'consent': return { consent: node.name, ...(node.topic ? { topic: node.topic } : {}), state: node.state }
    case 'other': return node.json as Json
  }
}

function test({ op, value }: { op: string; value: RuleValue }): Json {
  return op === 'exists' ? { op } : { op, value }
}

/** Properties of events have no declared kind: where it is compared as a whole, what looks like a number or a truth value is one. */
function guess({ op, value }: { op: string; value: RuleValue }): RuleValue {
  if (!['eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in'].includes(op)) return value
  if (Array.isArray(value)) return value.map(scalar) as string[]
  return scalar(value)
}

function scalar<T extends RuleValue>(value: T): T | number | boolean {
  if (typeof value !== 'string') return value
  if (value === 'true' || value === 'false') return value === 'true'
  return value.trim() !== '' && String(Number(value)) === value.trim() ? Number(value) : value
}

const NAMED = ['tag', 'group', 'segment'] as const

export function fromRule(json: unknown): Node {
  const id = nextId()
  const rule = (typeof json === 'object' && json !== null ? json : {}) as Json
  const only = (...names: string[]) => Object.keys(rule).every((name) => names.includes(name))
  for (const type of ['all', 'any'] as const) {
    if (Array.isArray(rule[type]) && only(type)) return { id, type, negate: false, children: (rule[type] as unknown[]).map(fromRule) }
  }
  if ('not' in rule && only('not')) {
    const inner = fromRule(rule.not)
    if (!inner.negate) return { ...inner, negate: true }
    return { id, type: 'all', negate: true, children: [inner] }
  }
  if (typeof rule.attribute === 'string' && only('attribute', 'op', 'value')) {
    return { id, type: 'attribute', negate: false, name: rule.attribute, op: String(rule.op ?? 'eq'), value: (rule.value ?? true) as RuleValue }
  }
  for (const type of NAMED) {
    if (typeof rule[type] === 'string' && only(type)) return { id, type, negate: false, name: rule[type] }
  }
  if (typeof rule.consent === 'string' && only('consent', 'topic', 'state')) {
    return { id, type: 'consent', negate: false, name: rule.consent, topic: String(rule.topic ?? ''), state: rule.state === 'withdrawn' ? 'withdrawn' : 'granted' }
  }
  if (typeof rule.event === 'string' && only('event', 'where', 'within', 'count')) {
    const [op = 'gte', count = 1] = Object.entries((rule.count ?? { gte: 1 }) as Json)[0] ?? []
    if (Object.keys((rule.count ?? {}) as Json).length <= 1) {
      return { id, type: 'event', negate: false, name: rule.event, op, count: Number(count), within: String(rule.within ?? ''), where: wheres(rule.where, 'property') }
    }
  }
  if (typeof rule.table === 'string') {
    const table = tableNode(id, rule)
    if (table) return table
  }
  return { id, type: 'other', negate: false, json }
}

function wheres(json: unknown, key: 'property' | 'field'): Where[] {
  if (!Array.isArray(json)) return []
  return (json as Json[]).map((where) => ({ id: nextId(), name: String(where[key] ?? ''), op: String(where.op ?? 'eq'), value: (where.value ?? true) as RuleValue }))
}

function tableNode(id: number, rule: Json): TableNode | null {
  const base = { id, type: 'table' as const, negate: false, name: String(rule.table), where: wheres(rule.where, 'field') }
  const rest = Object.keys(rule).filter((name) => name !== 'table' && name !== 'where')
  if (rest.length === 0) return { ...base, aggregate: 'count', field: '', op: 'gte', value: 1 }
  const aggregate = AGGREGATES.find((name) => name in rule)
  if (!aggregate) return null
  if (aggregate === 'count') {
    const parts = Object.entries((rule.count ?? {}) as Json)
    if (rest.length !== 1 || parts.length !== 1) return null
    const [op, value] = parts[0]!
    return { ...base, aggregate, field: '', op, value: value as RuleValue }
  }
  const op = rest.find((name) => name in COUNT_OPS)
  if (!op || rest.length !== 2) return null
  return { ...base, aggregate, field: String(rule[aggregate]), op, value: rule[op] as RuleValue }
}

/** The root that the builder shows is always a group. */
export function rootOf(json: unknown): GroupNode {
  const node = fromRule(json)
  if ((node.type === 'all' || node.type === 'any') && !node.negate) return node
  return { ...emptyGroup(), children: json && Object.keys(json as Json).length ? [node] : [] }
}

/** Faults by the id of the node they are about: the deepest node whose path begins the fault's path. */
export function faultsByNode(faults: { path?: string; message: string }[], paths: Map<string, number>): Map<number, string> {
  const found = new Map<number, string>()
  for (const { path = 'rule', message } of faults) {
    const full = path.startsWith('rule') ? path : `rule.${path}`
    const known = [...paths.keys()].filter((key) => full === key || full.startsWith(`${key}.`) || full.startsWith(`${key}[`))
    const deepest = known.sort((a, b) => b.length - a.length)[0]
    const id = deepest === undefined ? undefined : paths.get(deepest)
    if (id !== undefined) found.set(id, message)
  }
  return found
}

/** A rule in one line, for lists. */
export function describe(node: Node, depth = 0): string {
  const not = node.negate
  switch (node.type) {
    case 'all': case 'any': {
      if (node.children.length === 0) return 'everyone'
      const text = node.children.map((child) => describe(child, depth + 1)).join(node.type === 'all' ? ' and ' : ' or ')
      return `${not ? 'not ' : ''}${(depth > 0 && node.children.length > 1) || not ? `(${text})` : text}`
    }
    case 'attribute': {
      const value = node.op === 'exists' ? '' : ` ${plain(node.value)}`
      return `${not ? 'not ' : ''}${node.name} ${opWords(node.op)}${value}`
    }
    case 'tag': return `${not ? 'no tag' : 'tag'} ${node.name}`
    case 'group': return `${not ? 'not in' : 'in'} group ${node.name}`
    case 'segment': return `${not ? 'not in' : 'in'} segment ${node.name}`
    case 'consent': return `${not ? 'not ' : ''}${node.state === 'granted' ? 'agreed to' : 'withdrew'} ${node.name}${node.topic ? ` (${node.topic})` : ''}`
    case 'event': return `${not ? 'did not' : 'did'} ${node.name} ${COUNT_OPS[node.op] ?? node.op} ${node.count}×${node.within ? ` in ${plain(node.within)}` : ''}`
    case 'table': return `${not ? 'not ' : ''}${node.aggregate}${node.field ? ` of ${node.field}` : ''} in ${node.name} ${COUNT_OPS[node.op] ?? node.op} ${plain(node.value)}`
    case 'other': return JSON.stringify(node.json)
  }
}

function plain(value: RuleValue): string {
  if (Array.isArray(value)) return value.join(', ')
  const days = /^(\d+)d$/.exec(String(value))
  return days ? `${days[1]} days` : String(value)
}
