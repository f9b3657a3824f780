-- Consent by topic with its proof, sign-up forms, and addresses known by their hash alone.

-- What a channel is used for. The name is what consents and campaigns carry; texts is JSON by
-- language, and every change of it is a new version.
create table topics (
  number integer primary key not null,
  id blob not null unique,
  channel integer not null,
  name text not null,
  description text not null,
  version integer not null,
  archived_at integer,
  created_at integer not null,
  unique (channel, name)
);

create table topic_versions (
  topic_number integer not null,
  version integer not null,
  texts text not null,
  created_at integer not null,
  primary key (topic_number, version)
) without rowid;

alter table consents add column via text not null default 'earlier';
alter table consents add column text_version integer;

-- Everything that customers said, in the order it reached us; rows are added and never changed.
create table consent_history (
  bucket integer not null,
  customer_id blob not null,
  at integer not null,
  id blob not null,
  channel integer not null,
  topic text not null,
  state text not null,
  source text not null,
  via text not null,
  text_version integer,
  ip text,
  user_agent text,
  primary key (customer_id, at, id)
) without rowid;
insert into consent_history (bucket, customer_id, at, id, channel, topic, state, source, via)
  select bucket, customer_id, at, randomblob(16), channel, topic, state, source, 'earlier'
  from consents;

-- The topic that a campaign is about; null for none.
alter table campaigns add column topic text;

-- Addresses that are never written to, known by the SHA-256 of their normalised form in
-- hexadecimal.
create table suppressed_hashes (
  ibucket integer not null,
  channel integer not null,
  hash text not null,
  reason text not null,
  at integer not null,
  primary key (channel, hash)
) without rowid;

create table forms (
  number integer primary key not null,
  id blob not null unique,
  name text not null unique,
  definition text not null,
  archived_at integer,
  created_at integer not null,
  updated_at integer not null
);

-- Sign-ups that nobody has confirmed yet: nothing of them counts before.
create table sign_ups (
  ibucket integer not null,
  email text not null,
  id blob not null,
  form_number integer not null,
  given text not null,
  ip text,
  user_agent text,
  created_at integer not null,
  expires_at integer not null,
  mailed_at integer,
  confirmed_at integer,
  primary key (id)
) without rowid;
create index sign_ups_by_email on sign_ups (email);
create index sign_ups_by_age on sign_ups (expires_at);

-- Who was erased: a keyed hash of each name they had, so that no import makes them known again. The
-- key is in meta.
create table tombstones (
  ibucket integer not null,
  kind integer not null,
  hash text not null,
  at integer not null,
  primary key (kind, hash)
) without rowid;
