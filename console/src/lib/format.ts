/** Numbers, times and names as people read them. */
import { session } from './session.svelte'
import type { CustomerSummary, Kind, Value } from './types'

const whole = new Intl.NumberFormat('en')
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })

export function number(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : whole.format(value)
}

export function compact(value: number): string {
  return value < 10_000 ? whole.format(value) : short.format(value)
}

/** Share as a percentage; small but real shares never read "0%". */
export function percent(part: number, of: number): string {
  if (!of) return '–'
  const share = (part / of) * 100
  if (share > 0 && share < 0.1) return '<0.1%'
  if (share < 100 && share > 99.9) return '>99.9%'
  return `${share.toFixed(share === 0 || share === 100 || share >= 10 ? 0 : 1)}%`
}

export function bytes(value: number): string {
  if (value < 1000) return `${value} B`
  const units = ['kB', 'MB', 'GB', 'TB']
  let size = value / 1000
  let unit = 0
  while (size >= 1000 && unit < units.length - 1) { size /= 1000; unit += 1 }
  return `${size.toFixed(size < 10 ? 1 : 0)} ${units[unit]}`
}

export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return '–'
  if (seconds < 1) return 'under a second'
  if (seconds < 60) return `${Math.round(seconds)} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${number(count)} ${count === 1 ? one : many}`
}

function zone(): string {
  return session.workspace.time_zone || 'UTC'
}

export function dateTime(at: string | null | undefined): string {
  if (!at) return '–'
  return new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short', timeZone: zone() }).format(new Date(at))
}

export function clock(at: string): string {
  return new Intl.DateTimeFormat('en-GB', { timeStyle: 'short', timeZone: zone() }).format(new Date(at))
}

/** The day of a time in the workspace's zone, in words. */
export function day(at: string): string {
  const format = new Intl.DateTimeFormat('en-GB', { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric', timeZone: zone() })
  const text = format.format(new Date(at))
  if (text === format.format(new Date())) return 'Today'
  if (text === format.format(new Date(Date.now() - 86_400_000))) return 'Yesterday'
  return text
}

/** A calendar day such as `2026-11-23`, which belongs to no zone. */
export function calendarDay(date: string): string {
  return new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' }).format(new Date(`${date}T00:00:00Z`))
}

export function ago(at: string | null | undefined): string {
  if (!at) return '–'
  const seconds = (Date.now() - new Date(at).getTime()) / 1000
  if (seconds < 45) return 'just now'
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))} min ago`
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h ago`
  if (seconds < 7 * 86_400) return plural(Math.round(seconds / 86_400), 'day') + ' ago'
  return dateTime(at).replace(/,.*$/, '')
}

function offsetMs(time: number, timeZone: string): number {
  const parts = new Intl.DateTimeFormat('en-US', {
    timeZone, hourCycle: 'h23', year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', second: 'numeric',
  }).formatToParts(time)
  const part = (name: string) => Number(parts.find(({ type }) => type === name)?.value)
  return Date.UTC(part('year'), part('month') - 1, part('day'), part('hour'), part('minute'), part('second')) - Math.floor(time / 1000) * 1000
}

/** `2026-11-23T09:00`, read on a clock in `timeZone`, as a UTC time. In the hour that clocks skip, the later reading counts. */
export function fromZone(local: string, timeZone: string): string {
  const wall = new Date(`${local}Z`).getTime()
  const guess = wall - offsetMs(wall, timeZone)
  return new Date(wall - offsetMs(guess, timeZone)).toISOString()
}

/** The other way round, for a `datetime-local` field. */
export function intoZone(at: string, timeZone: string): string {
  const time = new Date(at).getTime()
  return new Date(time + offsetMs(time, timeZone)).toISOString().slice(0, 16)
}

export function value(content: Value | undefined, kind?: Kind): string {
  if (content === null || content === undefined || content === '') return '–'
  if (typeof content === 'boolean') return content ? 'Yes' : 'No'
  if (Array.isArray(content)) return content.join(', ') || '–'
  if (kind === 'timestamp') return dateTime(String(content))
  if (kind === 'integer') return number(Number(content))
  return String(content)
}

export function anything(content: unknown): string {
  if (content === null || content === undefined) return '–'
  return typeof content === 'object' ? JSON.stringify(content) : String(content)
}

type Named = Pick<CustomerSummary, 'email' | 'external_id' | 'phone'> & { attributes?: Record<string, Value>; system_id?: number }

/** What to call a customer: their name where attributes hold one, else an address or number. */
export function customerName(customer: Named): string {
  const attributes = customer.attributes ?? {}
  const first = attributes.first_name ?? attributes.firstname
  const last = attributes.last_name ?? attributes.lastname
  const name = [first, last].filter((part) => typeof part === 'string' && part).join(' ')
  const full = typeof attributes.name === 'string' ? attributes.name : ''
  return name || full || customer.email || customer.external_id || customer.phone || `Customer ${customer.system_id ?? ''}`
}

/** Words for a machine's name: `no_consent` is "No consent". */
export function words(name: string): string {
  const text = name.replaceAll('_', ' ')
  return text.charAt(0).toUpperCase() + text.slice(1)
}
