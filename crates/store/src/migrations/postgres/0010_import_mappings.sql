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

-- Customers who were not in the file of an import and were marked so; and, while it runs, who was.
alter table {s}imports add column rows_absent bigint not null default 0;
create table {s}import_seen (
  bucket smallint not null,
  import_number bigint not null,
  customer_id uuid not null,
  primary key (bucket, import_number, customer_id)
);
