-- Roles of a workspace's own: a name for some scopes, separated by blanks.
create table own_roles (
  workspace_id blob not null,
  name text not null,
  scopes text not null,
  created_at integer not null,
  primary key (workspace_id, name)
);

-- Whether people need a code beside their password here.
alter table workspaces add column totp_required integer not null default 0;

-- Sealed with the master key: the secret in use, and one that was shown and is not confirmed yet.
alter table users add column totp_secret blob;
alter table users add column totp_pending blob;
-- The time step of the last code that was taken; none up to it is taken again.
alter table users add column totp_step integer not null default 0;

-- Codes for those who lost their phone, as SHA-256; a row goes away when its code is used.
create table recovery_codes (
  user_id blob not null,
  hash blob not null,
  primary key (user_id, hash)
);
