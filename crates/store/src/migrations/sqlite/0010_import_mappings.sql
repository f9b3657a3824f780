-- Mappings that somebody keeps under a name. headers is JSON, the columns that they were made for;
-- header_key is the same for files with the same columns.
create table import_mappings (
  number integer primary key not null,
  id blob not null unique,
  name text not null unique,
  target_table text,
  headers text not null,
  header_key text not null,
  mapping text not null,
  created_at integer not null,
  updated_at integer not null,
  used_at integer not null
);
create index import_mappings_by_headers on import_mappings (header_key);

-- Customers who were not in the file of an import and were marked so; and, while it runs, who was.
alter table imports add column rows_absent integer not null default 0;
create table import_seen (
  bucket integer not null,
  import_number integer not null,
  customer_id blob not null,
  primary key (import_number, customer_id)
) without rowid;
