/** A router in one file: the address below `/console`, as state. */

export const BASE = '/console'

function read() {
  const { pathname, search } = window.location
  return { path: pathname.startsWith(BASE) ? pathname.slice(BASE.length) || '/' : '/', query: new URLSearchParams(search) }
}

let here = $state.raw(read())
/** Asked before leaving a screen with unsaved work; answers whether to go. */
let guard: (() => boolean) | null = null

export const route = {
  get path() { return here.path },
  get query() { return here.query },
  /** The parts between the slashes: `/customers/42` is `['customers', '42']`. */
  get parts() { return here.path.split('/').filter(Boolean).map(decodeURIComponent) },
}

/** Address of a screen, for `href`. */
export function to(path: string): string {
  return BASE + path
}

export function go(path: string, options: { replace?: boolean } = {}) {
  if (!options.replace && guard && !guard()) return
  if (options.replace) history.replaceState(null, '', to(path))
  else {
    guard = null
    history.pushState(null, '', to(path))
  }
  const before = here.path
  here = read()
  if (here.path !== before) {
    window.scrollTo(0, 0)
    // A new screen starts at its heading, for the keyboard and for screen readers.
    requestAnimationFrame(() => document.querySelector<HTMLElement>('main')?.focus({ preventScroll: true }))
  }
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

window.addEventListener('popstate', () => { here = read() })

document.addEventListener('click', (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
  const link = (event.target as Element | null)?.closest?.('a')
  if (!link || link.target || link.hasAttribute('download')) return
  const href = link.getAttribute('href')
  if (!href?.startsWith(`${BASE}/`)) return
  event.preventDefault()
  go(href.slice(BASE.length))
})
