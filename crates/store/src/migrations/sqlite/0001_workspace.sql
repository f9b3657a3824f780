-- A workspace's own tables. Every table that holds a customer's data carries bucket and
-- customer_id; times are microseconds since 1970 in UTC.

create table meta (
  key text primary key not null,
  value text not null
) without rowid;

create table attributes (
  number integer primary key not null,
  name text not null unique,
  kind text not null,
  scale integer,
  currency text,
  column_name text not null unique,
  created_at integer not null
);

create table user_tables (
  number integer primary key not null,
  name text not null unique,
  physical text not null unique,
  owner text not null,
  created_at integer not null
);

create table user_fields (
  table_number integer not null,
  number integer not null,
  name text not null,
  kind text not null,
  scale integer,
  currency text,
  column_name text not null,
  created_at integer not null,
  primary key (table_number, number),
  unique (table_number, name)
);

-- The row's number is the customer's system id, so that a look-up by it costs nothing more.
create table customers (
  system_id integer primary key not null,
  bucket integer not null,
  id blob not null unique,
  external_id text,
  email text,
  phone text,
  extra text,
  created_at integer not null,
  updated_at integer not null
);

create table identities (
  ibucket integer not null,
  kind integer not null,
  value text not null,
  bucket integer not null,
  customer_id blob not null,
  primary key (kind, value)
) without rowid;
create index identities_by_customer on identities (customer_id);

create table event_names (
  number integer primary key not null,
  name text not null unique
);

create table events (
  bucket integer not null,
  customer_id blob not null,
  at integer not null,
  id blob not null,
  name integer not null,
  properties text,
  campaign_id blob,
  delivery_id blob,
  primary key (customer_id, at, id)
) without rowid;
create index events_by_name on events (name, at, customer_id);

create table groups (
  number integer primary key not null,
  id blob not null unique,
  name text not null unique,
  created_at integer not null
);

create table group_members (
  bucket integer not null,
  customer_id blob not null,
  group_number integer not null,
  since integer not null,
  primary key (customer_id, group_number)
) without rowid;
create index group_members_by_group on group_members (group_number, customer_id);

create table tags (
  bucket integer not null,
  customer_id blob not null,
  tag text not null,
  put_at integer not null,
  until integer,
  primary key (customer_id, tag)
) without rowid;
create index tags_by_tag on tags (tag, customer_id);

create table consents (
  bucket integer not null,
  customer_id blob not null,
  channel integer not null,
  topic text not null,
  state text not null,
  at integer not null,
  source text not null,
  primary key (customer_id, channel, topic)
) without rowid;

-- Addresses that are never written to again, found by the address itself.
create table suppressions (
  ibucket integer not null,
  channel integer not null,
  address text not null,
  reason text not null,
  detail text not null,
  at integer not null,
  primary key (channel, address)
) without rowid;

create table segments (
  number integer primary key not null,
  id blob not null unique,
  name text not null unique,
  rule text not null,
  version integer not null,
  -- The version whose membership is complete; older than version while slices are evaluated.
  evaluated_version integer not null,
  -- How far the evaluation of version has come: the next slice.
  next_slice integer not null,
  created_at integer not null,
  updated_at integer not null
);

-- next_check_at is when the clock alone could change the verdict.
create table segment_members (
  bucket integer not null,
  customer_id blob not null,
  segment_number integer not null,
  since integer not null,
  next_check_at integer,
  version integer not null,
  primary key (segment_number, customer_id)
) without rowid;
create index segment_members_by_customer on segment_members (customer_id);
create index segment_members_due on segment_members (next_check_at) where next_check_at is not null;

-- Customers whose memberships must be judged again, and what of them changed.
create table dirty_customers (
  bucket integer not null,
  customer_id blob not null,
  seq integer not null,
  changed text not null,
  primary key (customer_id)
) without rowid;

create table templates (
  number integer primary key not null,
  id blob not null unique,
  name text not null unique,
  version integer not null,
  created_at integer not null,
  updated_at integer not null
);

create table template_versions (
  template_number integer not null,
  version integer not null,
  subject text not null,
  html text not null,
  plain text not null,
  created_at integer not null,
  primary key (template_number, version)
) without rowid;

create table campaigns (
  number integer primary key not null,
  id blob not null unique,
  name text not null,
  segment_number integer,
  template_number integer not null,
  template_version integer,
  sender_name text not null,
  sender_address text not null,
  reply_to text,
  class integer not null,
  state integer not null,
  -- The state to go back to when a pause ends.
  paused_from integer,
  scheduled_at integer,
  started_at integer,
  finished_at integer,
  created_at integer not null
);

-- A campaign is sent in shards that different nodes may hold. A shard is a range of buckets on
-- PostgreSQL and of system ids on SQLite; next is how far its audience has been frozen.
create table campaign_shards (
  campaign_number integer not null,
  shard integer not null,
  low integer not null,
  high integer not null,
  next integer not null,
  primary key (campaign_number, shard)
) without rowid;

create table campaign_links (
  campaign_number integer not null,
  number integer not null,
  url text not null,
  primary key (campaign_number, number),
  unique (campaign_number, url)
) without rowid;

create table deliveries (
  bucket integer not null,
  customer_id blob not null,
  id blob not null,
  campaign_number integer not null,
  address text,
  state integer not null,
  reason text,
  reply text,
  attempts integer not null,
  due_at integer not null,
  started_at integer,
  finished_at integer,
  opened_at integer,
  clicked_at integer,
  unsubscribed_at integer,
  primary key (campaign_number, customer_id)
) without rowid;
create unique index deliveries_by_id on deliveries (id);
create index deliveries_by_state on deliveries (campaign_number, state, due_at, id);
-- What recipients did is counted here, so that a count reads those alone who did something.
create index deliveries_reacted on deliveries (campaign_number, opened_at, clicked_at,
  unsubscribed_at) where opened_at is not null or unsubscribed_at is not null;
-- An address that must not be written to is looked for among what has not been sent.
create index deliveries_waiting on deliveries (address) where state = 0;
create index deliveries_by_customer on deliveries (customer_id);

-- Background work. A job is held under a lease whose epoch fences a holder that slept too long;
-- fenced counts the late writes that were turned away.
create table jobs (
  id blob primary key not null,
  kind text not null,
  subject text not null,
  payload text not null,
  state text not null,
  due_at integer not null,
  attempts integer not null,
  lease_epoch integer not null,
  lease_until integer,
  owner blob,
  fenced integer not null,
  error text,
  created_at integer not null,
  unique (kind, subject)
) without rowid;
create index jobs_due on jobs (state, due_at);

create table imports (
  number integer primary key not null,
  id blob not null unique,
  filename text not null,
  target_table text,
  state text not null,
  layout text not null,
  mapping text not null,
  columns text not null,
  bytes_total integer not null,
  bytes_done integer not null,
  position text not null,
  rows_read integer not null,
  rows_created integer not null,
  rows_updated integer not null,
  rows_unchanged integer not null,
  rows_refused integer not null,
  error text,
  created_at integer not null,
  started_at integer,
  finished_at integer
);

create table import_refusals (
  import_number integer not null,
  row_number integer not null,
  line integer not null,
  column_name text not null,
  code text not null,
  message text not null,
  raw blob not null,
  primary key (import_number, row_number)
) without rowid;

create table idempotency (
  ibucket integer not null,
  key text not null,
  request_hash blob not null,
  status integer not null,
  answer text not null,
  created_at integer not null,
  primary key (key)
) without rowid;
create index idempotency_by_age on idempotency (created_at);

-- What the demo's mailbox has caught.
create table mailbox (
  id blob primary key not null,
  recipient text not null,
  sender text not null,
  subject text not null,
  message_id text not null,
  raw blob not null,
  received_at integer not null,
  read_at integer
) without rowid;
