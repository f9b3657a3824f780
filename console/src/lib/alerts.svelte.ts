/** How many alerts nobody has acknowledged; asked for every half minute while somebody is signed in. */
import { api } from './api'
import type { Alerts } from './types'

const EVERY = 30_000
let unread = $state(0)

async function look() {
  try {
    unread = (await api.get<Alerts>('/v1/alerts?unread=true&limit=1')).unread
  } catch {
    // The screen itself says what is wrong; a number that is old does no harm.
  }
}

export const alerts = {
  get unread() { return unread },
  look,
  /** Looks now and from time to time, until the answer is called. */
  follow(_workspace: string): () => void {
    unread = 0
    void look()
    const timer = setInterval(() => { if (!document.hidden) void look() }, EVERY)
    return () => clearInterval(timer)
  },
}
