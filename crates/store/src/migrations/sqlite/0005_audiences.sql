-- When everybody's verdict may turn at once: the next midnight, for rules with dates.
alter table segments add column next_boundary_at integer;
create index segments_by_boundary on segments (next_boundary_at) where next_boundary_at is not null;
-- Segments from before get their checks by an evaluation, as if a midnight had passed.
update segments set next_boundary_at = 0;

-- Customers who are not in a segment and may enter it by the clock alone, and when to look again.
-- Those of members stand in segment_members.
create table segment_checks (
  bucket integer not null,
  customer_id blob not null,
  segment_number integer not null,
  check_at integer not null,
  primary key (segment_number, customer_id)
) without rowid;
create index segment_checks_by_customer on segment_checks (customer_id);
create index segment_checks_due on segment_checks (check_at);

-- What a day of the workspace's zone came to. A day on which nothing changed has no row.
create table segment_days (
  segment_number integer not null,
  day text not null,
  size integer not null,
  entered integer not null,
  left_out integer not null,
  primary key (segment_number, day)
) without rowid;
