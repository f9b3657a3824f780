-- The journal in the order of customers' ids, which follow each other in time: rows of an import go
-- to neighbouring pages, where an order by bucket sent each to a page of its own.
create table import_journal_ordered (
  import_number integer not null,
  bucket integer not null,
  customer_id blob not null,
  table_number integer not null,
  record_key text not null,
  part integer not null,
  at integer not null,
  created integer not null,
  changes text not null,
  primary key (import_number, customer_id, table_number, record_key, part)
) without rowid;
insert into import_journal_ordered
  (import_number, bucket, customer_id, table_number, record_key, part, at, created, changes)
  select import_number, bucket, customer_id, table_number, record_key, part, at, created, changes
  from import_journal order by import_number, customer_id, table_number, record_key, part;
drop table import_journal;
alter table import_journal_ordered rename to import_journal;
