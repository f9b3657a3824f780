-- The id of the master key that a node seals with, so that a rotation knows when all have the new one.
alter table {s}nodes add column key_id text;
