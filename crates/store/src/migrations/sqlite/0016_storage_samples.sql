-- How large each table was on each day, counted from 1970 in UTC.
create table storage_samples (
  day integer not null,
  name text not null,
  row_count integer not null,
  is_estimate integer not null,
  bytes integer not null,
  measured_at integer not null,
  primary key (day, name)
) without rowid;
