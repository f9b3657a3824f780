-- How a workspace's mail leaves: relays of its own, what belongs to a sender's domain, and how many
-- messages may be on their way to a receiver's domain. Secrets are sealed before they come here.
create table {s}relays (
  number integer primary key not null,
  id uuid not null unique,
  name text collate "C" not null unique,
  url text collate "C" not null,
  username text collate "C",
  secret bytea,
  per_second integer,
  open_max integer not null,
  weight integer not null,
  enabled boolean not null,
  created_at bigint not null,
  updated_at bigint not null
);

create table {s}sender_domains (
  domain text collate "C" primary key not null,
  relay_number integer,
  tracking_url text collate "C",
  created_at bigint not null
);

create table {s}dkim_keys (
  domain text collate "C" not null,
  selector text collate "C" not null,
  algorithm text collate "C" not null,
  public bytea not null,
  secret bytea not null,
  active boolean not null,
  created_at bigint not null,
  primary key (domain, selector)
);

create table {s}recipient_limits (
  domain text collate "C" primary key not null,
  open_max integer not null
);
