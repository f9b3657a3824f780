/** The one client of the `/v1` API: headers, errors and nothing else. */
import type { Fault } from './types'

/** What every call carries once somebody is signed in. Filled by the session. */
export const identity = { csrf: '', workspace: '', lost: () => {} }

/** A refusal of the API, or a network that is gone (status 0). `message` may be shown as it is. */
export class ApiError extends Error {
  constructor(
    public status: number,
    public code: string,
    message: string,
    public faults: Fault[] = [],
  ) {
    super(message)
  }

  /** The first message about `path` or something inside it. */
  about(path: string): string | undefined {
    return this.faults.find((fault) => fault.path === path || fault.path?.startsWith(`${path}.`) || fault.path?.startsWith(`${path}[`))
      ?.message
  }
}

export function asApiError(cause: unknown): ApiError {
  if (cause instanceof ApiError) return cause
  return new ApiError(0, 'unknown', cause instanceof Error ? cause.message : String(cause))
}

const FALLBACKS: Record<number, string> = {
  401: 'Please sign in again.',
  403: 'You may not do this in this workspace.',
  404: 'This does not exist, or no longer.',
  413: 'This is too large.',
  429: 'Too many requests. Please wait a moment.',
  503: 'The hub is busy or its database is away. Please try again in a moment.',
}

/** Reads an RFC 9457 problem into an error whose message is a sentence for people. */
export function problem(status: number, text: string): ApiError {
  try {
    const body = JSON.parse(text) as { code?: string; title?: string; detail?: string; errors?: Fault[] }
    const faults = body.errors ?? []
    const message = sentence(body.detail ?? faults[0]?.message ?? FALLBACKS[status] ?? body.title ?? `The hub answered ${status}`)
    return new ApiError(status, body.code ?? 'unknown', message, faults)
  } catch {
    return new ApiError(status, 'unknown', FALLBACKS[status] ?? `The hub answered ${status}.`)
  }
}

function sentence(text: string): string {
  const start = text.charAt(0).toUpperCase() + text.slice(1)
  return /[.!?]$/.test(start) ? start : `${start}.`
}

function headers(method: string): Record<string, string> {
  const all: Record<string, string> = { Accept: 'application/json' }
  if (identity.workspace) all['Tidings-Workspace'] = identity.workspace
  if (method !== 'GET' && identity.csrf) all['Tidings-CSRF'] = identity.csrf
  return all
}

type Query = Record<string, string | number | boolean | null | undefined>

/** Path with its query; empty values are left out. */
export function path(base: string, query: Query = {}): string {
  const params = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') params.set(name, String(value))
  }
  const text = params.toString()
  return text ? `${base}?${text}` : base
}

async function call<T>(method: string, url: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { method, headers: headers(method), credentials: 'same-origin' }
  if (signal) init.signal = signal
  if (body !== undefined) {
    init.body = JSON.stringify(body)
    init.headers = { ...init.headers, 'Content-Type': 'application/json' }
  }
  let response: Response
  try {
    response = await fetch(url, init)
  } catch (cause) {
    if (signal?.aborted) throw cause
    throw new ApiError(0, 'network', 'The hub does not answer. Is it running?')
  }
  const text = await response.text()
  if (!response.ok) {
    if (response.status === 401) identity.lost()
    throw problem(response.status, text)
  }
  return (text ? JSON.parse(text) : undefined) as T
}

export const api = {
  get: <T>(url: string, signal?: AbortSignal) => call<T>('GET', url, undefined, signal),
  post: <T>(url: string, body?: unknown, signal?: AbortSignal) => call<T>('POST', url, body ?? {}, signal),
  put: <T>(url: string, body?: unknown) => call<T>('PUT', url, body ?? {}),
  patch: <T>(url: string, body: unknown) => call<T>('PATCH', url, body),
  delete: <T = void>(url: string, body?: unknown) => call<T>('DELETE', url, body),
}

/** Sends a file and tells how many bytes have left; `fetch` cannot tell. */
export function upload<T>(url: string, file: File, sent: (bytes: number) => void, signal: AbortSignal, type = 'text/csv'): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.open('POST', url)
    for (const [name, value] of Object.entries(headers('POST'))) request.setRequestHeader(name, value)
    request.setRequestHeader('Content-Type', type)
    request.upload.onprogress = (event) => sent(event.loaded)
    request.onerror = () => reject(new ApiError(0, 'network', 'The upload broke off. Is the hub still running?'))
    request.onabort = () => reject(new ApiError(0, 'aborted', 'The upload was cancelled.'))
    request.onload = () => {
      if (request.status === 401) identity.lost()
      if (request.status >= 200 && request.status < 300) resolve(JSON.parse(request.responseText) as T)
      else reject(problem(request.status, request.responseText))
    }
    signal.addEventListener('abort', () => request.abort())
    request.send(file)
  })
}

/** Fetches a file with the session's headers and hands it to the browser to save. */
export async function download(url: string, filename: string): Promise<void> {
  const response = await fetch(url, { headers: { ...headers('GET'), Accept: '*/*' } })
  if (!response.ok) throw problem(response.status, await response.text())
  const link = document.createElement('a')
  link.href = URL.createObjectURL(await response.blob())
  link.download = filename
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}
