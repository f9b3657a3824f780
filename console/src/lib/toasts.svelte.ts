/** Short notes at the edge of the screen about what just happened. */
import { asApiError } from './api'

export interface Toast { id: number; tone: 'good' | 'bad'; text: string }

let toasts = $state.raw<Toast[]>([])
let last = 0

function show(tone: Toast['tone'], text: string, ms: number) {
  const id = (last += 1)
  toasts = [...toasts.slice(-3), { id, tone, text }]
  setTimeout(() => dismiss(id), ms)
}

export function dismiss(id: number) {
  toasts = toasts.filter((toast) => toast.id !== id)
}

export const notes = { get all() { return toasts } }

export function tell(text: string) {
  show('good', text, 5000)
}

export function complain(cause: unknown) {
  show('bad', asApiError(cause).message, 10_000)
}

/** Does one thing and says how it went; answers whether it worked. */
export async function attempt(work: () => Promise<unknown>, done?: string): Promise<boolean> {
  try {
    await work()
    if (done) tell(done)
    return true
  } catch (cause) {
    complain(cause)
    return false
  }
}
