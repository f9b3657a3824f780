-- Customers who were merged into others: who, when, and what undoing needs, as JSON; it is emptied
-- when the time to undo is over.
create table merges (
  bucket integer not null,
  customer_id blob not null,
  id blob not null,
  lost_id blob not null,
  lost_system_id integer not null,
  at integer not null,
  undo_until integer not null,
  undone_at integer,
  lost text not null,
  filled text not null,
  names text not null,
  primary key (customer_id, id)
) without rowid;
create index merges_by_end on merges (undo_until);

-- Every row that a merge moved, as it was; moved is 0 where the kept customer had one of the same
-- key.
create table merge_rows (
  bucket integer not null,
  customer_id blob not null,
  merge_id blob not null,
  number integer not null,
  table_name text not null,
  moved integer not null,
  line text not null,
  primary key (customer_id, merge_id, number)
) without rowid;

-- Where the ids and numbers of merged customers lead.
create table merged_customers (
  bucket integer not null,
  customer_id blob not null,
  system_id integer not null,
  into_id blob not null,
  primary key (customer_id)
) without rowid;
create index merged_customers_by_number on merged_customers (system_id);
