-- Roles of a workspace's own: a name for some scopes, separated by blanks.
create table {s}own_roles (
  workspace_id uuid not null,
  name text not null,
  scopes text not null,
  created_at bigint not null,
  primary key (workspace_id, name)
);

-- Whether people need a code beside their password here.
alter table {s}workspaces add column totp_required boolean not null default false;

-- Sealed with the master key: the secret in use, and one that was shown and is not confirmed yet.
alter table {s}users add column totp_secret bytea;
alter table {s}users add column totp_pending bytea;
-- The time step of the last code that was taken; none up to it is taken again.
alter table {s}users add column totp_step bigint not null default 0;

-- Codes for those who lost their phone, as SHA-256; a row goes away when its code is used.
create table {s}recovery_codes (
  user_id uuid not null,
  hash bytea not null,
  primary key (user_id, hash)
);
