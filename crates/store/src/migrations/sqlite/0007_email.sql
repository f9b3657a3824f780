-- How a workspace's mail leaves: relays of its own, what belongs to a sender's domain, and how many
-- messages may be on their way to a receiver's domain. Secrets are sealed before they come here.
create table relays (
  number integer primary key not null,
  id blob not null unique,
  name text not null unique,
  url text not null,
  username text,
  secret blob,
  per_second integer,
  open_max integer not null,
  weight integer not null,
  enabled integer not null,
  created_at integer not null,
  updated_at integer not null
);

create table sender_domains (
  domain text primary key not null,
  relay_number integer,
  tracking_url text,
  created_at integer not null
) without rowid;

create table dkim_keys (
  domain text not null,
  selector text not null,
  algorithm text not null,
  public blob not null,
  secret blob not null,
  active integer not null,
  created_at integer not null,
  primary key (domain, selector)
) without rowid;

create table recipient_limits (
  domain text primary key not null,
  open_max integer not null
) without rowid;
