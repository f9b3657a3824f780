-- What the whole hub knows: workspaces, people, tokens, nodes. No customer's data is here.

create table {s}workspaces (
  number integer primary key not null,
  id uuid not null unique,
  slug text collate "C" not null unique,
  name text collate "C" not null,
  time_zone text collate "C" not null,
  partitioned boolean not null,
  created_at bigint not null
);

create table {s}users (
  id uuid primary key not null,
  mail text collate "C" not null unique,
  name text collate "C" not null,
  password_hash text collate "C" not null,
  created_at bigint not null
);

create table {s}roles (
  user_id uuid not null,
  workspace_id uuid not null,
  role text collate "C" not null,
  primary key (user_id, workspace_id)
);

create table {s}tokens (
  id uuid primary key not null,
  workspace_id uuid not null,
  name text collate "C" not null,
  -- SHA-256 of the token; the token itself is shown once and never kept.
  hash bytea not null unique,
  scopes text collate "C" not null,
  created_at bigint not null,
  last_used_at bigint
);

create table {s}sessions (
  hash bytea primary key not null,
  user_id uuid not null,
  csrf text collate "C" not null,
  created_at bigint not null,
  seen_at bigint not null,
  expires_at bigint not null
);

create table {s}nodes (
  id uuid primary key not null,
  started_at bigint not null,
  seen_at bigint not null
);

create table {s}settings (
  key text collate "C" primary key not null,
  value text collate "C" not null
);
