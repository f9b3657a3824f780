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
  place integer not null,
  bucket integer not null,
  customer_id blob not null,
  table_number integer not null,
  record_key text not null,
  field text not null,
  reason text not null,
  imported text,
  current text,
  primary key (import_number, place)
) without rowid;
