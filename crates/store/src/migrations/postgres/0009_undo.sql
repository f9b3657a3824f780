-- How undoing the import stands, as JSON.
alter table {s}imports add column undo text collate "C";

-- What an import changed, kept for a while so that it can be undone. The customer itself has table
-- number 0 and no key; part is the first row of the chunk; changes is JSON: each field with what it
-- was before and what the import made of it.
create table {s}import_journal (
  import_number bigint not null,
  bucket smallint not null,
  customer_id uuid not null,
  table_number bigint not null,
  record_key text collate "C" not null,
  part bigint not null,
  at bigint not null,
  created bigint not null,
  changes text collate "C" not null,
  primary key (import_number, bucket, customer_id, table_number, record_key, part)
);

-- What an undo left as it is, and why.
create table {s}import_kept (
  import_number bigint not null,
  place bigint not null,
  bucket smallint not null,
  customer_id uuid not null,
  table_number bigint not null,
  record_key text collate "C" not null,
  field text collate "C" not null,
  reason text collate "C" not null,
  imported text collate "C",
  current text collate "C",
  primary key (import_number, place)
);
