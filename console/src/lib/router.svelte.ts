/** A router in one file: the address below `/console`, as state. */
import { untrack } from 'svelte'

export const BASE = '/console'

function read(): string {
  const { pathname } = window.location
  return pathname.startsWith(BASE) ? pathname.slice(BASE.length) || '/' : '/'
}

let path = $state(read())
let visit = $state(0)
/** Asked before leaving a screen with unsaved work; answers whether to go. */
let guard: (() => boolean) | null = null

export const route = {
  get path() { return path },
  /** Changes with every visit, so that going to the screen one is on begins it afresh. */
  get visit() { return visit },
  /** Not state: a screen reads it when it starts, and keeps it up to date from then on. */
  get query() { return new URLSearchParams(window.location.search) },
  /** The parts between the slashes: `/customers/42` is `['customers', '42']`. */
  get parts() { return path.split('/').filter(Boolean).map(decodeURIComponent) },
}

/** Address of a screen, for `href`. */
export function to(screen: string): string {
  return BASE + screen
}

/** Leads to a screen. */
export function go(next: string) {
  if (guard && !guard()) return
  guard = null
  history.pushState(null, '', to(next))
  arrive()
  window.scrollTo(0, 0)
  // A new screen starts at its beginning, for the keyboard and for screen readers.
  requestAnimationFrame(() => document.querySelector<HTMLElement>('main')?.focus({ preventScroll: true }))
}

/** Keeps the address in step with what a screen shows, without leaving it. */
export function note(query: string) {
  if (to(query) !== window.location.pathname + window.location.search) history.replaceState(null, '', to(query))
}

function arrive() {
  path = read()
  visit = untrack(() => visit) + 1
}

/** Keeps somebody from losing what they typed. Call it in an effect with a function that says whether there is unsaved work. */
export function guardUnsaved(unsaved: () => boolean): () => void {
  const mine = () => !unsaved() || confirm('Leave without saving your changes?')
  const unload = (event: BeforeUnloadEvent) => { if (unsaved()) event.preventDefault() }
  guard = mine
  window.addEventListener('beforeunload', unload)
  return () => {
    if (guard === mine) guard = null
    window.removeEventListener('beforeunload', unload)
  }
}

/** Forgets the guard: what was unsaved has just been saved. */
export function saved() {
  guard = null
}

window.addEventListener('popstate', arrive)

document.addEventListener('click', (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
  const link = (event.target as Element | null)?.closest?.('a')
  if (!link || link.target || link.hasAttribute('download')) return
  const href = link.getAttribute('href')
  if (!href?.startsWith(`${BASE}/`)) return
  event.preventDefault()
  go(href.slice(BASE.length))
})
