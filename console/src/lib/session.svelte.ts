/** Who is signed in, and in which workspace they work. */
import { api, ApiError, identity } from './api'
import type { Session, Workspace } from './types'

const KEY = 'tidings-workspace'

let current = $state.raw<Session | null>(null)
let state = $state<'asking' | 'out' | 'in' | 'away'>('asking')
let slug = $state('')
let failure = $state('')

function remember(name: string, value: string) {
  try { localStorage.setItem(name, value) } catch { /* storage may be off; then the choice lasts for this page */ }
}

function remembered(name: string): string | null {
  try { return localStorage.getItem(name) } catch { return null }
}

function enter(answer: Session) {
  current = answer
  identity.csrf = answer.csrf
  const wanted = remembered(KEY)
  const found = answer.workspaces.find((workspace) => workspace.slug === wanted) ?? answer.workspaces[0]
  slug = identity.workspace = found?.slug ?? ''
  state = 'in'
}

identity.lost = () => {
  identity.csrf = ''
  if (state === 'in') state = 'out'
}

const NOBODY: Workspace = { slug: '', name: 'No workspace', role: 'viewer', scopes: null, time_zone: 'UTC', totp_required: false }

/** Scopes of a role of the workspace's own that change nothing. */
const LOOKING = /(:read$|^audit$|^mailbox$)/

export const session = {
  get state() { return state },
  get failure() { return failure },
  get user() { return current?.user ?? { mail: '', name: '', totp: false } },
  get demo() { return current?.demo ?? false },
  get workspaces() { return current?.workspaces ?? [] },
  get workspace(): Workspace { return current?.workspaces.find((workspace) => workspace.slug === slug) ?? NOBODY },
  /** Viewers look; editors and admins change; other roles may what their scopes say. */
  get mayEdit() { return this.workspace.scopes ? this.workspace.scopes.some((scope) => !LOOKING.test(scope)) : this.workspace.role !== 'viewer' },
  get isAdmin() { return this.workspace.scopes ? this.workspace.scopes.includes('admin') : this.workspace.role === 'admin' },
  get mayAudit() { return this.isAdmin || (this.workspace.scopes?.includes('audit') ?? false) },
  /** Nothing here opens before a second factor is set up. */
  get needsTotp() { return this.workspace.totp_required && !this.user.totp },

  async open() {
    try {
      enter(await api.get<Session>('/v1/session'))
    } catch (cause) {
      if (cause instanceof ApiError && cause.status === 401) state = 'out'
      else {
        failure = cause instanceof Error ? cause.message : String(cause)
        state = 'away'
      }
    }
  },

  async signIn(mail: string, password: string, code?: string) {
    enter(await api.post<Session>('/v1/session', code ? { mail, password, code } : { mail, password }))
  },

  async signOut() {
    await api.delete('/v1/session')
    current = null
    identity.csrf = ''
    state = 'out'
  },

  choose(workspace: string) {
    slug = identity.workspace = workspace
    remember(KEY, workspace)
  },
}

export type Theme = 'system' | 'light' | 'dark'
const saved = remembered('tidings-theme')
let chosen = $state<Theme>(saved === 'light' || saved === 'dark' ? saved : 'system')

export const theme = {
  get chosen() { return chosen },
  choose(next: Theme) {
    chosen = next
    remember('tidings-theme', next)
    if (next === 'system') delete document.documentElement.dataset.theme
    else document.documentElement.dataset.theme = next
  },
}
