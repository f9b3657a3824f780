-- Customers who were erased, by id, so that an archive from before is cleared of them again; names is
-- JSON: kind and keyed hash of each name that was buried with them.
create table {s}erasures (
  id uuid not null primary key,
  at bigint not null,
  names text collate "C" not null
);
