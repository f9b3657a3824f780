-- Mappings that somebody keeps under a name. headers is JSON, the columns that they were made for;
-- header_key is the same for files with the same columns.
create table {s}import_mappings (
  number integer primary key not null,
  id uuid not null unique,
  name text collate "C" not null unique,
  target_table text collate "C",
  headers text collate "C" not null,
  header_key text collate "C" not null,
  mapping text collate "C" not null,
  created_at bigint not null,
  updated_at bigint not null,
  used_at bigint not null
);
create index import_mappings_by_headers on {s}import_mappings (header_key);
