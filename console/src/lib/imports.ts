/** What the console says about imports. Pure. */
import type { ColumnMapping, Import, ImportColumn, ImportMapping } from './types'

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
    const said = mapping?.columns.find((entry) => entry.column === column.index || (entry.column === column.header && column.header !== null))
    if (said) return { ...said, column: column.index }
    const { to = 'ignore', create } = column.suggestion ?? {}
    return create ? { column: column.index, to, create } : { column: column.index, to }
  })
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
