-- When everybody's verdict may turn at once: the next midnight, for rules with dates.
alter table {s}segments add column next_boundary_at bigint;
create index segments_by_boundary on {s}segments (next_boundary_at) where next_boundary_at is not null;
-- Segments from before get their checks by an evaluation, as if a midnight had passed.
update {s}segments set next_boundary_at = 0;

-- Customers who are not in a segment and may enter it by the clock alone, and when to look again.
-- Those of members stand in segment_members.
create table {s}segment_checks (
  bucket smallint not null,
  customer_id uuid not null,
  segment_number integer not null,
  check_at bigint not null,
  primary key (bucket, customer_id, segment_number)
) {hot segment_checks bucket};
create index segment_checks_by_segment on {s}segment_checks (segment_number, customer_id);
create index segment_checks_due on {s}segment_checks (check_at);

-- What a day of the workspace's zone came to. A day on which nothing changed has no row.
create table {s}segment_days (
  segment_number integer not null,
  day text collate "C" not null,
  size bigint not null,
  entered bigint not null,
  left_out bigint not null,
  primary key (segment_number, day)
);
