-- Whether the files that a node keeps can be read by the other nodes.
alter table {s}nodes add column files_shared boolean not null default false;
