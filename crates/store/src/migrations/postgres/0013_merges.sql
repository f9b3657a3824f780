-- Customers who were merged into others: who, when, and what undoing needs, as JSON; it is emptied
-- when the time to undo is over.
create table {s}merges (
  bucket smallint not null,
  customer_id uuid not null,
  id uuid not null,
  lost_id uuid not null,
  lost_system_id bigint not null,
  at bigint not null,
  undo_until bigint not null,
  undone_at bigint,
  lost text collate "C" not null,
  filled text collate "C" not null,
  names text collate "C" not null,
  primary key (bucket, customer_id, id)
) {hot merges bucket};
create index merges_by_end on {s}merges (undo_until);

-- Every row that a merge moved, as it was; moved is 0 where the kept customer had one of the same
-- key.
create table {s}merge_rows (
  bucket smallint not null,
  customer_id uuid not null,
  merge_id uuid not null,
  number bigint not null,
  table_name text collate "C" not null,
  moved smallint not null,
  line text collate "C" not null,
  primary key (bucket, customer_id, merge_id, number)
) {hot merge_rows bucket};

-- Where the ids and numbers of merged customers lead.
create table {s}merged_customers (
  bucket smallint not null,
  customer_id uuid not null,
  system_id bigint not null,
  into_id uuid not null,
  primary key (bucket, customer_id)
) {hot merged_customers bucket};
create index merged_customers_by_number on {s}merged_customers (system_id);
