-- What the whole hub knows: workspaces, people, tokens, nodes. No customer's data is here.

create table workspaces (
  number integer primary key not null,
  id blob not null unique,
  slug text not null unique,
  name text not null,
  time_zone text not null,
  partitioned integer not null,
  created_at integer not null
);

create table users (
  id blob primary key not null,
  mail text not null unique,
  name text not null,
  password_hash text not null,
  created_at integer not null
);

create table roles (
  user_id blob not null,
  workspace_id blob not null,
  role text not null,
  primary key (user_id, workspace_id)
);

create table tokens (
  id blob primary key not null,
  workspace_id blob not null,
  name text not null,
  -- SHA-256 of the token; the token itself is shown once and never kept.
  hash blob not null unique,
  scopes text not null,
  created_at integer not null,
  last_used_at integer
);

create table sessions (
  hash blob primary key not null,
  user_id blob not null,
  csrf text not null,
  created_at integer not null,
  seen_at integer not null,
  expires_at integer not null
);

create table nodes (
  id blob primary key not null,
  started_at integer not null,
  seen_at integer not null
);

create table settings (
  key text primary key not null,
  value text not null
);
