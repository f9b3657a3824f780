-- Consent by topic with its proof, sign-up forms, and addresses known by their hash alone.

-- What a channel is used for. The name is what consents and campaigns carry; texts is JSON by
-- language, and every change of it is a new version.
create table {s}topics (
  number integer primary key not null,
  id uuid not null unique,
  channel smallint not null,
  name text collate "C" not null,
  description text collate "C" not null,
  version integer not null,
  archived_at bigint,
  created_at bigint not null,
  unique (channel, name)
);

create table {s}topic_versions (
  topic_number integer not null,
  version integer not null,
  texts text collate "C" not null,
  created_at bigint not null,
  primary key (topic_number, version)
);

alter table {s}consents add column via text collate "C" not null default 'earlier';
alter table {s}consents add column text_version integer;

-- Everything that customers said, in the order it reached us; rows are added and never changed.
create table {s}consent_history (
  bucket smallint not null,
  customer_id uuid not null,
  at bigint not null,
  id uuid not null,
  channel smallint not null,
  topic text collate "C" not null,
  state text collate "C" not null,
  source text collate "C" not null,
  via text collate "C" not null,
  text_version integer,
  ip text collate "C",
  user_agent text collate "C",
  primary key (bucket, customer_id, at, id)
) {hot consent_history bucket};
insert into {s}consent_history (bucket, customer_id, at, id, channel, topic, state, source, via)
  select bucket, customer_id, at, gen_random_uuid(), channel, topic, state, source, 'earlier'
  from {s}consents;

-- The topic that a campaign is about; null for none.
alter table {s}campaigns add column topic text collate "C";

-- Addresses that are never written to, known by the SHA-256 of their normalised form in
-- hexadecimal.
create table {s}suppressed_hashes (
  ibucket smallint not null,
  channel smallint not null,
  hash text collate "C" not null,
  reason text collate "C" not null,
  at bigint not null,
  primary key (ibucket, channel, hash)
) {hot suppressed_hashes ibucket};

create table {s}forms (
  number integer primary key not null,
  id uuid not null unique,
  name text collate "C" not null unique,
  definition text collate "C" not null,
  archived_at bigint,
  created_at bigint not null,
  updated_at bigint not null
);

-- Sign-ups that nobody has confirmed yet: nothing of them counts before.
create table {s}sign_ups (
  ibucket smallint not null,
  email text collate "C" not null,
  id uuid not null,
  form_number integer not null,
  given text collate "C" not null,
  ip text collate "C",
  user_agent text collate "C",
  created_at bigint not null,
  expires_at bigint not null,
  mailed_at bigint,
  confirmed_at bigint,
  primary key (ibucket, id)
) {hot sign_ups ibucket};
create index sign_ups_by_email on {s}sign_ups (ibucket, email);
create index sign_ups_by_age on {s}sign_ups (expires_at);

-- Who was erased: a keyed hash of each name they had, so that no import makes them known again. The
-- key is in meta.
create table {s}tombstones (
  ibucket smallint not null,
  kind smallint not null,
  hash text collate "C" not null,
  at bigint not null,
  primary key (ibucket, kind, hash)
) {hot tombstones ibucket};
