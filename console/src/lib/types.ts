/** Shapes of the `/v1` API as the console uses them. Times are RFC 3339 strings, decimals and money strings, ids UUID strings. */

/** admin, editor, viewer, or a role of the workspace's own. */
export type Role = string

export interface Workspace { slug: string; name: string; role: Role; scopes: string[] | null; time_zone: string; totp_required: boolean }

export interface Session {
  user: { mail: string; name: string | null; totp: boolean }
  csrf: string
  workspaces: Workspace[]
  demo: boolean
}

export interface Page<T> { items: T[]; next: string | null }

export interface Fault { path?: string; code?: string; message: string; line?: number; column?: number }

export type Kind =
  | 'text' | 'integer' | 'decimal' | 'boolean' | 'date' | 'timestamp' | 'list'
  | 'email' | 'phone' | 'country' | 'language' | 'money'

export const KINDS: Kind[] = [
  'text', 'integer', 'decimal', 'boolean', 'date', 'timestamp', 'list', 'email', 'phone', 'country', 'language', 'money',
]

export interface Attribute {
  number: number
  name: string
  label?: string | null
  kind: Kind
  scale?: number | null
  currency?: string | null
  built_in?: boolean
}

export interface Table { number: number; name: string; owner: 'customer' | 'none'; key: string; fields: Attribute[] }

export type Value = string | number | boolean | string[] | null

export interface CustomerSummary {
  id: string
  system_id: number
  external_id: string | null
  email: string | null
  phone: string | null
  attributes: Record<string, Value>
  tags: { tag: string; until: string | null }[]
  created_at: string
  updated_at: string
}

export interface Consent { channel: string; topic: string | null; state: 'granted' | 'withdrawn'; at: string; source: string | null; via: string; text_version: number | null }

export interface ConsentEntry { id: string; at: string; channel: string; topic: string; state: 'granted' | 'withdrawn' | 'lifted' | 'undone'; source: string; via: string; text_version: number | null; ip: string | null; user_agent: string | null }

export interface TopicText { title: string; text: string }

export interface Topic { id: string; number: number; channel: string; name: string; description: string; version: number; texts: Record<string, TopicText>; archived_at: string | null; created_at: string }

export interface TopicVersion { version: number; texts: Record<string, TopicText>; created_at: string }

export interface PublicPages { default_language: string; texts: Record<string, Record<string, string>>; effective: Record<string, Record<string, string>> }

export interface Form {
  id: string
  number: number
  name: string
  title: string
  intro: string
  language: string
  fields: { to: string; label: string; required: boolean }[]
  topics: string[]
  sender: { name: string; address: string }
  redirect_url: string | null
  archived: boolean
  url: string
  snippet: string
}

export interface Customer extends CustomerSummary {
  groups: string[]
  consents: Consent[]
  suppressed: { reason: string; at: string } | null
  segments: { id: string; name: string; since: string | null }[]
  extra?: Record<string, unknown> | null
}

export interface CustomerEvent {
  id: string
  name: string
  at: string
  properties: Record<string, unknown> | null
  campaign: { id: string; name: string } | null
  delivery_id: string | null
}

export interface Retention { events_days: number | null; message_details_days: number | null; import_files_days: number | null; mailbox_days: number | null; inactive_customers_days: number | null }

export interface RetentionPreview { events: number; message_details: number; import_files: number; mailbox: number; inactive_customers: number; kept_for_segments: { event: string; segment: string; days: number | null }[] }

export interface StorageTable { name: string; title: string | null; rows: number; is_estimate: boolean; bytes: number; rows_per_day: number | null; bytes_per_day: number | null; days: { day: string; rows: number; bytes: number }[] }

export interface Storage { measured_at: string; bytes: number; bytes_per_day: number | null; tables: StorageTable[] }

export interface Merge { id: string; merged_id: string; merged_system_id: number; at: string; undo_until: string; undone_at: string | null }

export interface TableRecord { key: string; fields: Record<string, Value>; updated_at: string }

export interface ImportColumn {
  index: number
  header: string | null
  samples: string[]
  suggestion: { to: string; create?: NewAttribute | null; decimal?: DecimalMark; date?: DateOrder; ambiguous?: boolean } | null
}

export type DecimalMark = 'comma' | 'point'
export type DateOrder = 'dmy' | 'mdy' | 'ymd'
export type Otherwise = 'keep' | 'blank' | 'refuse'

/** One thing done to a value between file and customer. */
export type Transform =
  | 'trim' | 'lower' | 'upper' | 'capitalise'
  | { split: { by: string; part?: number } }
  | { default: string }
  | { lookup: { map: Record<string, string>; otherwise?: Otherwise } }
  | { pattern: { find: string; take?: number; otherwise?: Otherwise } }

export interface NewAttribute { kind: Kind; scale?: number; currency?: string }

/** Exactly one of `column`, `join` and `constant` is given. */
export interface ColumnMapping {
  column?: string | number
  join?: { columns: (string | number)[]; with?: string }
  constant?: string
  to: string
  transforms?: Transform[]
  decimal?: DecimalMark
  date?: DateOrder
  create?: NewAttribute
}

export type ImportMode = 'upsert' | 'update' | 'add' | 'replace'

export interface ImportMapping { columns: ColumnMapping[]; mode: ImportMode; match?: string | null; present?: string }

/** A mapping kept under a name. */
export interface KeptMapping { id: string; name: string; table: string | null; headers: string[]; mapping: ImportMapping; created_at: string; updated_at: string; used_at: string }

/** A row as it is read, and what each target of a mapping gets of it. */
export interface PreviewRow { row: number; line: number; cells: string[]; becomes: Record<string, string | null>; fault: string | null }

/** What a draft's rows would do, tried without keeping anything of it. */
export interface Trial {
  state: 'queued' | 'running' | 'done' | 'failed'
  rows: { read: number; create: number; update: number; unchanged: number; refuse: number }
  bytes_done: number
  error: string | null
}

/** How undoing an import stands. */
export interface Undo { state: 'running' | 'done'; total: number; done: number; restored: number; deleted: number; kept: number }

/** What an undo left as it is. */
export interface KeptField { customer: string | null; key: string | null; field: string | null; reason: 'changed' | 'touched' | 'taken' | 'gone'; imported: string | null; current: string | null }

export interface Verdict { row: number; line: number; verdict: 'create' | 'update' | 'unchanged' | 'refuse'; column: string | null; code: string | null; message: string | null }

export interface Import {
  id: string
  number: number
  filename: string
  state: 'draft' | 'queued' | 'running' | 'done' | 'failed' | 'cancelled'
  bytes_total: number
  bytes_done: number
  rows: { read: number; created: number; updated: number; unchanged: number; refused: number }
  layout: { encoding: string; bom: boolean; delimiter: string; quote: string | null; header: boolean; line_ending: string } | null
  columns: ImportColumn[]
  mapping: ImportMapping | null
  kind: 'csv' | 'json_lines' | 'workbook'
  /** Customers who were not in the file and were marked so. */
  absent: number
  mapped_as: number | null
  mapped_by: string | null
  trial: Trial | null
  undo: Undo | null
  undoable_until: string | null
  table: string | null
  error: string | null
  created_at: string
  started_at: string | null
  finished_at: string | null
  rows_per_second: number | null
}

export interface Refusal { row: number; line: number; column: string | null; code: string; message: string; text: string | null }

export interface Segment {
  id: string
  number: number
  name: string
  rule: unknown
  size: number | null
  evaluating: boolean
  updated_at: string
}

/** One part of a segment's rule, as it stands for one customer. */
export interface ExplainedPart { kind: string; condition: unknown; holds: boolean; found: unknown; changes_at: string | null; parts: ExplainedPart[] }

export interface Explanation { customer: string; holds: boolean; member: boolean; rule: ExplainedPart }

export interface SegmentDay { day: string; size: number; entered: number; left: number }

export interface RuleField { name: string; kind: Kind; ops: string[] }

export interface RuleFields {
  attributes: RuleField[]
  tags: string[]
  groups: string[]
  segments: string[]
  events: { name: string; properties: string[] }[]
  tables: { name: string; fields: RuleField[] }[]
}

export interface Count { count: number; of: number; took_ms: number }

export interface TemplateSummary { id: string; number: number; name: string; subject: string; version: number; updated_at: string }

export interface Variant { language: string; subject: string; html: string; text: string | null }

export type Format = 'html' | 'mjml'

export interface Template extends TemplateSummary { html: string; text: string | null; format: Format; variants: Variant[] }

export interface Preview { subject: string; html: string; text: string | null; customer: CustomerSummary | null; language: string | null }

/** What can be seen to be wrong with a message before anybody gets it. */
export interface Finding { level: 'error' | 'warning'; code: string; message: string; fix: string; part: string; line: number | null; column: number | null }

export interface Version { version: number; created_at: string }

export interface DiffLine { change: 'same' | 'removed' | 'added'; text: string; old: number | null; new: number | null }

/** A file of a workspace as text: `text`, or `base64` for what is none. */
export interface DefinitionFile { path: string; text?: string; base64?: string }

export interface DefinitionNotice { file: string; line?: number; message: string }

export interface DefinitionDifference { path: string; old?: string; new?: string; lines?: DiffLine[] }

export interface DefinitionChange {
  action: 'create' | 'change' | 'rename' | 'drop'
  kind: string
  id: string
  name: string
  old_name: string | null
  file: string | null
  differences: DefinitionDifference[]
  loses: string | null
}

export interface DefinitionPlan {
  fingerprint: string
  changes: DefinitionChange[]
  launches: { id: string; name: string; file: string; at: string | null }[]
  problems: DefinitionNotice[]
  notes: DefinitionNotice[]
  missing_secrets: string[]
}

export interface PartDiff { part: string; lines: DiffLine[] }

export interface BlockSummary { id: string; number: number; name: string; version: number; updated_at: string }

export interface Block extends BlockSummary { body: string }

export interface Use { kind: 'template' | 'block'; id: string; name: string; version: number | null }

export interface Picture { id: string; number: number; name: string; url: string; kind: string; width: number; height: number; size_bytes: number; created_at: string }

export interface Sender { name: string; address: string; reply_to?: string | null }

export type CampaignState = 'draft' | 'scheduled' | 'preparing' | 'sending' | 'paused' | 'done' | 'cancelled'

export type DeliveryState = 'due' | 'in_flight' | 'sent' | 'failed' | 'bounced' | 'skipped' | 'uncertain' | 'cancelled'

export type Counts = { audience: number; opened: number; clicked: number; unsubscribed: number } & Record<DeliveryState, number>

export interface LocalPlan { at: string; zone_attribute: string; passed: 'send' | 'skip' }

export interface TestPlan {
  variants: { name: string; weight: number; subject: string | null; template_id: string | null; template_version: number | null }[]
  share_percent: number
  metric: 'opens' | 'clicks' | 'conversions'
  hours: number
  otherwise: 'best' | 'first'
}

export interface GoalPlan { table: string; time_field: string; amount_field: string | null; window_hours: number }

export interface CampaignPlan {
  local: LocalPlan | null
  holdout_percent: number | null
  test: TestPlan | null
  goal: GoalPlan | null
}

export interface Campaign extends CampaignPlan {
  id: string
  number: number
  name: string
  state: CampaignState
  segment: { id: string; name: string } | null
  template: { id: string; name: string; version: number }
  sender: Sender
  class: 'marketing' | 'transactional'
  topic?: string | null
  scheduled_at: string | null
  started_at: string | null
  finished_at: string | null
  link_parameters: Record<string, string>
  counts: Counts
  rate_per_second: number | null
  created_at: string
  paused_because: string | null
}

export interface ResultGroup {
  arm: 'message' | 'test' | 'rest' | 'holdout' | 'global_holdout'
  variant: string | null
  customers: number
  sent: number
  bounced: number
  skipped: number
  opened: number
  clicked: number
  unsubscribed: number
  goal: { customers: number; converted: number; conversions: number; revenue: string | null } | null
}

export interface Difference { difference: number; low: number; high: number }

export interface Results {
  groups: ResultGroup[]
  test: {
    metric: TestPlan['metric']
    ends_at: string | null
    certain: string | null
    leading: string | null
    chances: { better: string; than: string; chance: number }[]
    winner: string | null
    decided_by: 'evidence' | 'best' | 'first' | 'person' | null
    decided_at: string | null
  } | null
  goal: { table: string; window_hours: number; currency: string | null; closes_at: string | null; is_there: boolean } | null
  uplift: {
    control: 'holdout' | 'global_holdout'
    treated_customers: number
    treated_converted: number
    control_customers: number
    control_converted: number
    rate_points: Difference | null
    revenue_per_customer: Difference | null
  } | null
}

export interface Alert {
  id: string
  kind: string
  message: string
  campaign_id: string | null
  raised_at: string
  ended_at: string | null
  acknowledged_at: string | null
  acknowledged_by: string | null
}

export interface Alerts extends Page<Alert> { unread: number }

export interface SendingRules {
  global_holdout_percent: number | null
  bounce_pause: { percent: number | null; from_mails: number }
  alert_mail: { to: string[]; from: string | null }
}

export interface Review {
  audience: number
  will_send: number
  skipped: Record<string, number>
  sample: Preview | null
  problems: { level: 'error' | 'warning'; message: string; fix: string | null; part: string | null; line: number | null; column: number | null }[]
  mail_ready: boolean
  begins_at: string | null
  hours: { at: string; count: number }[]
  unknown_zone: number
  variants: { name: string; count: number }[]
  rest: number
}

export interface Progress {
  state: CampaignState
  counts: Counts
  rate_per_second: number | null
  eta_seconds: number | null
  per_minute: { at: string; sent: number }[]
  links: { url: string; clicks: number; unique_clicks: number }[]
  reasons: { state: DeliveryState; reason: string | null; count: number }[]
}

export interface Delivery {
  id: string
  customer: { id: string; email: string | null; external_id: string | null }
  state: DeliveryState
  reason: string | null
  reply: string | null
  attempts: number
  next_attempt_at: string | null
  sent_at: string | null
  opened_at: string | null
  clicked_at: string | null
  arm: ResultGroup['arm'] | null
  variant: string | null
  due_at: string | null
  message_id: string | null
}

export interface MailSummary { id: string; to: string; from: string; subject: string; received_at: string; read: boolean }

export interface Mail extends MailSummary {
  html: string | null
  text: string | null
  headers: [string, string][]
  links: string[]
  customer: CustomerSummary | null
}

export interface Overview {
  customers: number
  reachable_by_email: number
  events_24h: number
  segments: { id: string; name: string; size: number | null }[]
  campaigns: Pick<Campaign, 'id' | 'name' | 'state' | 'counts'>[]
  imports: Import[]
  sent_by_day: { day: string; sent: number; opened: number; clicked: number }[]
  sending_paused: boolean
  mail_ready: boolean
}

export interface Group { id: string; number: number; name: string; size: number }

export interface Suppression { channel: string; address: string; reason: string | null; at?: string | null; created_at?: string | null }

export interface SuppressedHash { channel: string; hash: string; reason: string; at: string }

export interface Token { id: string; name: string; scopes: string[]; token?: string; created_at?: string | null; last_used_at?: string | null }

export interface User { id: string; mail: string; role: Role; totp: boolean; name?: string | null; password?: string }

export interface OwnRole { name: string; scopes: string[]; people: number; created_at: string }

export interface AuditEntry { number: number; at: string; actor: { kind: string; id: string | null; name: string | null }; action: string; thing: string; detail: string; seal: string }

export interface AuditCheck { entries: number; head: string | null; fault: { number: number; reason: string } | null }

export interface Relay {
  id: string
  name: string
  url: string
  username: string | null
  has_password: boolean
  per_second: number | null
  open_max: number
  weight: number
  enabled: boolean
  state: { up: boolean; error: string | null; open: number } | null
}

export interface DkimKey {
  selector: string
  algorithm: 'rsa' | 'ed25519'
  active: boolean
  record: { name: string; value: string; zone_line: string }
}

export interface SenderDomain { domain: string; relay_id: string | null; tracking_url: string | null; keys: DkimKey[] }

export interface RecipientLimit { domain: string; open_max: number }
