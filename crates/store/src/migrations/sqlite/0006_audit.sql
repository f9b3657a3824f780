-- Who did what to which thing: a chain, each entry sealed over the one before it.
create table audit (
  number integer primary key not null,
  at integer not null,
  actor_kind text not null,
  actor blob,
  action text not null,
  thing text not null,
  detail text not null,
  hash blob not null
);
create index audit_by_thing on audit (thing, number);
create index audit_by_actor on audit (actor, number);

-- The end of the chain, made by the first entry; its row is also what writers queue at.
create table audit_head (
  id integer primary key not null,
  number integer not null,
  hash blob not null
);
