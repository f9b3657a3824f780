-- What a campaign plans beside its message, as JSON; which variant won its test, when and how that
-- was decided; why it paused by itself, and what had been sent and bounced when it went on.
alter table campaigns add column plan text not null default '{}';
alter table campaigns add column winner integer;
alter table campaigns add column decided_at integer;
alter table campaigns add column decided_by text;
alter table campaigns add column paused_because text;
alter table campaigns add column guard_ended integer not null default 0;
alter table campaigns add column guard_bounced integer not null default 0;

-- The part of a campaign that a customer is in, and the variant that they get.
alter table deliveries add column arm integer;
alter table deliveries add column variant integer;

-- The templates that variants use; their versions are fixed by the launch.
create table campaign_variants (
  campaign_number integer not null,
  variant integer not null,
  template_number integer not null,
  template_version integer,
  primary key (campaign_number, variant)
) without rowid;

-- What operators must know: one row a cause, from its beginning to its end.
create table alerts (
  id blob primary key not null,
  kind text not null,
  subject text not null,
  message text not null,
  campaign_id blob,
  raised_at integer not null,
  ended_at integer,
  acknowledged_at integer,
  acknowledged_by text,
  mailed_at integer,
  end_mailed_at integer
) without rowid;
create unique index alerts_open on alerts (kind, subject) where ended_at is null;
create index alerts_by_time on alerts (raised_at, id);
create index alerts_unread on alerts (raised_at) where acknowledged_at is null;
