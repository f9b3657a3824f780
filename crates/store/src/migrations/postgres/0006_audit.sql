-- Who did what to which thing: a chain, each entry sealed over the one before it.
create table {s}audit (
  number bigint primary key not null,
  at bigint not null,
  actor_kind text not null,
  actor uuid,
  action text not null,
  thing text not null,
  detail text not null,
  hash bytea not null
);
create index audit_by_thing on {s}audit (thing, number);
create index audit_by_actor on {s}audit (actor, number);

-- The end of the chain, made by the first entry; its row is also what writers queue at.
create table {s}audit_head (
  id integer primary key not null,
  number bigint not null,
  hash bytea not null
);
