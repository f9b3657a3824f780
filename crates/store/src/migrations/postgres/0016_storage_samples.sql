-- How large each table was on each day, counted from 1970 in UTC.
create table {s}storage_samples (
  day integer not null,
  name text collate "C" not null,
  row_count bigint not null,
  is_estimate boolean not null,
  bytes bigint not null,
  measured_at bigint not null,
  primary key (day, name)
);
