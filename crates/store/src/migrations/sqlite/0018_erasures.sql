-- Customers who were erased, by id, so that an archive from before is cleared of them again; names is
-- JSON: kind and keyed hash of each name that was buried with them.
create table erasures (
  id blob not null primary key,
  at integer not null,
  names text not null
) without rowid;
