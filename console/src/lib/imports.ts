/** What the console says about imports. Pure. */
import type { ColumnMapping, Import, ImportColumn, ImportMapping, Kind, Transform } from './types'

export function importParts(rows: Import['rows']): { label: string; count: number; color: string }[] {
  return [
    { label: 'Created', count: rows.created, color: 'var(--accent)' },
    { label: 'Updated', count: rows.updated, color: 'var(--chart-2)' },
    { label: 'Unchanged', count: rows.unchanged, color: 'var(--chart-quiet)' },
    { label: 'Refused', count: rows.refused, color: 'light-dark(#c2362c, #ff8f85)' },
  ]
}

/** What a column becomes: a choice for each column of the file, in its order. */
export function choices(columns: ImportColumn[], mapping: ImportMapping | null): ColumnMapping[] {
  return columns.map((column) => {
    const said = mapping?.columns.find((entry) => isOf(entry, column))
    if (said) return { ...said, column: column.index }
    const { to = 'ignore', create, decimal, date } = column.suggestion ?? {}
    return { column: column.index, to, ...(create ? { create } : {}), ...(decimal ? { decimal } : {}), ...(date ? { date } : {}) }
  })
}

/** What a mapping says beside one choice a column: joined columns, constants, and second uses of a column. */
export function extras(columns: ImportColumn[], mapping: ImportMapping | null): ColumnMapping[] {
  const first = new Set(columns.map((column) => mapping?.columns.find((entry) => isOf(entry, column))))
  return (mapping?.columns ?? []).filter((entry) => !first.has(entry)).map((entry) => ({ ...entry }))
}

function isOf(entry: ColumnMapping, column: ImportColumn): boolean {
  return entry.column === column.index || (entry.column === column.header && column.header !== null && column.header !== '')
}

/** Kinds whose values may be written in several forms. */
export const isNumber = (kind: Kind | undefined) => kind === 'integer' || kind === 'decimal' || kind === 'money'
export const isDate = (kind: Kind | undefined) => kind === 'date' || kind === 'timestamp'

export const STEPS: { name: string; label: string; make: () => Transform }[] = [
  { name: 'trim', label: 'Remove blanks around', make: () => 'trim' },
  { name: 'lower', label: 'Small letters', make: () => 'lower' },
  { name: 'upper', label: 'Capital letters', make: () => 'upper' },
  { name: 'capitalise', label: 'Capitalise Each Word', make: () => 'capitalise' },
  { name: 'split', label: 'Split, take a part', make: () => ({ split: { by: ' ', part: 1 } }) },
  { name: 'default', label: 'Text where there is none', make: () => ({ default: '' }) },
  { name: 'lookup', label: 'Look up', make: () => ({ lookup: { map: {}, otherwise: 'keep' } }) },
  { name: 'pattern', label: 'Take what a pattern finds', make: () => ({ pattern: { find: '', otherwise: 'blank' } }) },
]

/** Which of `STEPS` a transform is. */
export function stepName(step: Transform): string {
  return typeof step === 'string' ? step : Object.keys(step)[0] ?? ''
}

/** The lines `M = male` of a lookup as its map, and back. */
export function lookupMap(text: string): Record<string, string> {
  const pairs = text.split('\n').filter((line) => line.includes('='))
  return Object.fromEntries(pairs.map((line) => [line.slice(0, line.indexOf('=')).trim(), line.slice(line.indexOf('=') + 1).trim()]))
}

export function lookupText(map: Record<string, string>): string {
  return Object.entries(map).map(([from, to]) => `${from} = ${to}`).join('\n')
}

/** A name for a new attribute from a column's header: `Last order (€)` is `last_order`. */
export function attributeName(header: string | null, index: number): string {
  const name = (header ?? '').toLowerCase().replaceAll('ß', 'ss').replaceAll('ø', 'o').replaceAll('ł', 'l').normalize('NFKD').replace(/[\u0300-\u036f]/g, '').replace(/[^a-z0-9]+/g, '_').replace(/^_+|_+$/g, '')
  return /^[a-z]/.test(name) ? name.slice(0, 60) : `column_${index + 1}`
}

const DELIMITERS: Record<string, string> = { ',': 'comma', ';': 'semicolon', '\t': 'tab', '|': 'pipe', ' ': 'space' }

export function delimiterWord(delimiter: string): string {
  return DELIMITERS[delimiter] ?? delimiter
}

export function isMoving(state: Import['state']): boolean {
  return state === 'running' || state === 'queued'
}

export function isTrying(data: Import): boolean {
  return data.trial?.state === 'queued' || data.trial?.state === 'running'
}
