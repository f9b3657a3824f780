-- A workspace's own tables. Every table that holds a customer's data carries bucket and
-- customer_id; times are microseconds since 1970 in UTC.

create table {s}meta (
  key text collate "C" primary key not null,
  value text collate "C" not null
);

create table {s}attributes (
  number integer primary key not null,
  name text collate "C" not null unique,
  kind text collate "C" not null,
  scale integer,
  currency text collate "C",
  column_name text collate "C" not null unique,
  created_at bigint not null
);

create table {s}user_tables (
  number integer primary key not null,
  name text collate "C" not null unique,
  physical text collate "C" not null unique,
  owner text collate "C" not null,
  created_at bigint not null
);

create table {s}user_fields (
  table_number integer not null,
  number integer not null,
  name text collate "C" not null,
  kind text collate "C" not null,
  scale integer,
  currency text collate "C",
  column_name text collate "C" not null,
  created_at bigint not null,
  primary key (table_number, number),
  unique (table_number, name)
);

-- system_id is unique because it is leased in blocks, not by an index.
create table {s}customers (
  system_id bigint not null,
  bucket smallint not null,
  id uuid not null,
  external_id text collate "C",
  email text collate "C",
  phone text collate "C",
  extra jsonb,
  created_at bigint not null,
  updated_at bigint not null,
  primary key (bucket, id)
) {hot customers bucket};
create index customers_by_system_id on {s}customers (system_id);

create table {s}identities (
  ibucket smallint not null,
  kind smallint not null,
  value text collate "C" not null,
  bucket smallint not null,
  customer_id uuid not null,
  primary key (ibucket, kind, value)
) {hot identities ibucket};
create index identities_by_customer on {s}identities (customer_id);

create table {s}event_names (
  number integer primary key not null,
  name text collate "C" not null unique
);

create table {s}events (
  bucket smallint not null,
  customer_id uuid not null,
  at bigint not null,
  id uuid not null,
  name integer not null,
  properties jsonb,
  campaign_id uuid,
  delivery_id uuid,
  primary key (bucket, customer_id, at, id)
) {hot events bucket};
create index events_by_name on {s}events (name, at, customer_id);

create table {s}groups (
  number integer primary key not null,
  id uuid not null unique,
  name text collate "C" not null unique,
  created_at bigint not null
);

create table {s}group_members (
  bucket smallint not null,
  customer_id uuid not null,
  group_number integer not null,
  since bigint not null,
  primary key (bucket, customer_id, group_number)
) {hot group_members bucket};
create index group_members_by_group on {s}group_members (group_number, customer_id);

create table {s}tags (
  bucket smallint not null,
  customer_id uuid not null,
  tag text collate "C" not null,
  put_at bigint not null,
  until bigint,
  primary key (bucket, customer_id, tag)
) {hot tags bucket};
create index tags_by_tag on {s}tags (tag, customer_id);

create table {s}consents (
  bucket smallint not null,
  customer_id uuid not null,
  channel smallint not null,
  topic text collate "C" not null,
  state text collate "C" not null,
  at bigint not null,
  source text collate "C" not null,
  primary key (bucket, customer_id, channel, topic)
) {hot consents bucket};

-- Addresses that are never written to again, found by the address itself.
create table {s}suppressions (
  ibucket smallint not null,
  channel smallint not null,
  address text collate "C" not null,
  reason text collate "C" not null,
  detail text collate "C" not null,
  at bigint not null,
  primary key (ibucket, channel, address)
) {hot suppressions ibucket};

create table {s}segments (
  number integer primary key not null,
  id uuid not null unique,
  name text collate "C" not null unique,
  rule text collate "C" not null,
  version bigint not null,
  -- The version whose membership is complete; older than version while slices are evaluated.
  evaluated_version bigint not null,
  -- How far the evaluation of version has come: the next slice.
  next_slice bigint not null,
  created_at bigint not null,
  updated_at bigint not null
);

-- next_check_at is when the clock alone could change the verdict.
create table {s}segment_members (
  bucket smallint not null,
  customer_id uuid not null,
  segment_number integer not null,
  since bigint not null,
  next_check_at bigint,
  version bigint not null,
  primary key (bucket, customer_id, segment_number)
) {hot segment_members bucket};
create index segment_members_by_customer on {s}segment_members (customer_id);
create index segment_members_due on {s}segment_members (next_check_at) where next_check_at is not null;

-- Customers whose memberships must be judged again, and what of them changed.
create table {s}dirty_customers (
  bucket smallint not null,
  customer_id uuid not null,
  seq bigint not null,
  changed text collate "C" not null,
  primary key (bucket, customer_id)
) {hot dirty_customers bucket};

create table {s}templates (
  number integer primary key not null,
  id uuid not null unique,
  name text collate "C" not null unique,
  version bigint not null,
  created_at bigint not null,
  updated_at bigint not null
);

create table {s}template_versions (
  template_number integer not null,
  version bigint not null,
  subject text collate "C" not null,
  html text collate "C" not null,
  plain text collate "C" not null,
  created_at bigint not null,
  primary key (template_number, version)
);

create table {s}campaigns (
  number integer primary key not null,
  id uuid not null unique,
  name text collate "C" not null,
  segment_number integer,
  template_number integer not null,
  template_version bigint,
  sender_name text collate "C" not null,
  sender_address text collate "C" not null,
  reply_to text collate "C",
  class smallint not null,
  state smallint not null,
  -- The state to go back to when a pause ends.
  paused_from smallint,
  scheduled_at bigint,
  started_at bigint,
  finished_at bigint,
  created_at bigint not null
);

-- A campaign is sent in shards that different nodes may hold. A shard is a range of buckets on
-- PostgreSQL and of system ids on SQLite; next is how far its audience has been frozen.
create table {s}campaign_shards (
  campaign_number integer not null,
  shard integer not null,
  low bigint not null,
  high bigint not null,
  next bigint not null,
  primary key (campaign_number, shard)
);

create table {s}campaign_links (
  campaign_number integer not null,
  number integer not null,
  url text collate "C" not null,
  primary key (campaign_number, number),
  unique (campaign_number, url)
);

create table {s}deliveries (
  bucket smallint not null,
  customer_id uuid not null,
  id uuid not null,
  campaign_number integer not null,
  address text collate "C",
  state smallint not null,
  reason text collate "C",
  reply text collate "C",
  attempts bigint not null,
  due_at bigint not null,
  started_at bigint,
  finished_at bigint,
  opened_at bigint,
  clicked_at bigint,
  unsubscribed_at bigint,
  primary key (bucket, customer_id, campaign_number)
) {hot deliveries bucket};
create unique index deliveries_by_id on {s}deliveries (bucket, id);
create index deliveries_by_state on {s}deliveries (campaign_number, state, due_at, id);
-- What recipients did is counted here, so that a count reads those alone who did something.
create index deliveries_reacted on {s}deliveries (campaign_number, opened_at, clicked_at,
  unsubscribed_at) where opened_at is not null or unsubscribed_at is not null;
-- An address that must not be written to is looked for among what has not been sent.
create index deliveries_waiting on {s}deliveries (address) where state = 0;
create index deliveries_by_customer on {s}deliveries (customer_id);

-- Background work. A job is held under a lease whose epoch fences a holder that slept too long;
-- fenced counts the late writes that were turned away.
create table {s}jobs (
  id uuid primary key not null,
  kind text collate "C" not null,
  subject text collate "C" not null,
  payload text collate "C" not null,
  state text collate "C" not null,
  due_at bigint not null,
  attempts bigint not null,
  lease_epoch bigint not null,
  lease_until bigint,
  owner uuid,
  fenced bigint not null,
  error text collate "C",
  created_at bigint not null,
  unique (kind, subject)
);
create index jobs_due on {s}jobs (state, due_at);

create table {s}imports (
  number integer primary key not null,
  id uuid not null unique,
  filename text collate "C" not null,
  target_table text collate "C",
  state text collate "C" not null,
  layout text collate "C" not null,
  mapping text collate "C" not null,
  columns text collate "C" not null,
  bytes_total bigint not null,
  bytes_done bigint not null,
  position text collate "C" not null,
  rows_read bigint not null,
  rows_created bigint not null,
  rows_updated bigint not null,
  rows_unchanged bigint not null,
  rows_refused bigint not null,
  error text collate "C",
  created_at bigint not null,
  started_at bigint,
  finished_at bigint
);

create table {s}import_refusals (
  import_number bigint not null,
  row_number bigint not null,
  line bigint not null,
  column_name text collate "C" not null,
  code text collate "C" not null,
  message text collate "C" not null,
  raw bytea not null,
  primary key (import_number, row_number)
);

create table {s}idempotency (
  ibucket smallint not null,
  key text collate "C" not null,
  request_hash bytea not null,
  status bigint not null,
  answer text collate "C" not null,
  created_at bigint not null,
  primary key (ibucket, key)
) {hot idempotency ibucket};
create index idempotency_by_age on {s}idempotency (created_at);

-- What the demo's mailbox has caught.
create table {s}mailbox (
  id uuid primary key not null,
  recipient text collate "C" not null,
  sender text collate "C" not null,
  subject text collate "C" not null,
  message_id text collate "C" not null,
  raw bytea not null,
  received_at bigint not null,
  read_at bigint
);
