-- Whether the files that a node keeps can be read by the other nodes.
alter table nodes add column files_shared integer not null default 0;
