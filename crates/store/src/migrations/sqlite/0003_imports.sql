-- A trial of a draft: what its rows would do. trial is JSON, trial_run tells one trial from the next.
alter table imports add column trial text;
alter table imports add column trial_run text;
-- How undoing the import stands, as JSON.
alter table imports add column undo text;

-- What an import changed, kept for a while so that it can be undone. The customer itself has table
-- number 0 and no key; part is the first row of the chunk; changes is JSON: each field with what it
-- was before and what the import made of it.
create table import_journal (
  import_number integer not null,
  bucket integer not null,
  customer_id blob not null,
  table_number integer not null,
  record_key text not null,
  part integer not null,
  at integer not null,
  created integer not null,
  changes text not null,
  primary key (import_number, bucket, customer_id, table_number, record_key, part)
) without rowid;

-- What an undo left as it is, and why.
create table import_kept (
  import_number integer not null,
  bucket integer not null,
  customer_id blob not null,
  table_number integer not null,
  record_key text not null,
  field text not null,
  reason text not null,
  imported text,
  current text,
  primary key (import_number, bucket, customer_id, table_number, record_key, field)
) without rowid;

-- Mappings kept by name, for files that come again.
create table saved_mappings (
  number integer primary key not null,
  id blob not null unique,
  name text not null unique,
  target_table text,
  headers text not null,
  layout text not null,
  mapping text not null,
  created_at integer not null,
  updated_at integer not null
);
