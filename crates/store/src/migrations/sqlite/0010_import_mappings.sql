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
