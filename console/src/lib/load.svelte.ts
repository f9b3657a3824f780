/** Loading from the API as state: one thing, or a list by cursor. Both must be made while a component starts. */
import { untrack } from 'svelte'
import { api, ApiError, asApiError, path } from './api'
import type { Page } from './types'

export interface Loaded<T> {
  readonly data: T | undefined
  readonly error: ApiError | null
  readonly loading: boolean
  reload(): Promise<void>
  set(data: T): void
}

/** Calls `fetcher` now, whenever state it reads before its first await changes, and every `every(data)` ms while that is not null. */
export function load<T>(
  fetcher: (signal: AbortSignal) => Promise<T> | null,
  every: (data: T | undefined) => number | null = () => null,
): Loaded<T> {
  let data = $state.raw<T>()
  let error = $state.raw<ApiError | null>(null)
  let loading = $state(true)
  let stop = new AbortController()
  let timer = 0

  function later() {
    clearTimeout(timer)
    const wait = every(data)
    if (wait !== null) timer = window.setTimeout(run, document.hidden ? Math.max(wait, 5000) : wait)
  }

  async function settle(promise: Promise<T> | null, mine: AbortController) {
    try {
      if (promise) {
        const answer = await promise
        if (mine.signal.aborted) return
        data = answer
      }
      error = null
    } catch (cause) {
      if (mine.signal.aborted) return
      error = asApiError(cause)
    }
    loading = false
    later()
  }

  function run() {
    stop.abort()
    stop = new AbortController()
    return settle(fetcher(stop.signal), stop)
  }

  $effect(() => {
    stop.abort()
    stop = new AbortController()
    const promise = fetcher(stop.signal)
    untrack(() => { loading = true; void settle(promise, stop) })
    return () => { clearTimeout(timer); stop.abort() }
  })

  return {
    get data() { return data },
    get error() { return error },
    get loading() { return loading },
    reload: run,
    set(next: T) { data = next },
  }
}

export interface Listed<T> {
  readonly items: T[]
  readonly error: ApiError | null
  readonly loading: boolean
  readonly more: boolean
  next(): Promise<void>
  reload(): void
}

/** A list by cursor. `url` answers the address without cursor, or null to wait. */
export function list<T>(url: () => string | null, limit = 50): Listed<T> {
  let items = $state.raw<T[]>([])
  let cursor: string | null = null
  let more = $state(false)
  let loading = $state(true)
  let error = $state.raw<ApiError | null>(null)
  let stop = new AbortController()
  let again = $state(0)

  async function fetchPage(address: string, from: string | null) {
    const mine = (stop = new AbortController())
    loading = true
    try {
      const [base = '', query = ''] = address.split('?')
      const page = await api.get<Page<T>>(path(base, { ...Object.fromEntries(new URLSearchParams(query)), limit, cursor: from }), mine.signal)
      items = from ? [...items, ...page.items] : page.items
      cursor = page.next
      more = page.next !== null && page.next !== undefined
      error = null
    } catch (cause) {
      if (mine.signal.aborted) return
      error = asApiError(cause)
    }
    loading = false
  }

  $effect(() => {
    void again
    const address = url()
    untrack(() => { if (address) void fetchPage(address, null) })
    return () => stop.abort()
  })

  return {
    get items() { return items },
    get error() { return error },
    get loading() { return loading },
    get more() { return more },
    async next() {
      const address = url()
      if (address && cursor && !loading) await fetchPage(address, cursor)
    },
    reload() { again = untrack(() => again) + 1 },
  }
}

/** A value that follows another one once it has been quiet for `ms`. */
export function debounced<T>(source: () => T, ms: number): { readonly value: T } {
  let value = $state.raw(untrack(source))
  $effect(() => {
    const next = source()
    const timer = setTimeout(() => { value = next }, ms)
    return () => clearTimeout(timer)
  })
  return { get value() { return value } }
}
