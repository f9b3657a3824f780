-- The journal in the order of customers' ids, which follow each other in time: rows of an import go
-- to neighbouring pages, where an order by bucket sent each to a page of its own.
alter table {s}import_journal drop constraint import_journal_pkey,
  add primary key (import_number, customer_id, table_number, record_key, part);
