-- What a campaign plans beside its message, as JSON; which variant won its test, when and how that
-- was decided; why it paused by itself, and what had been sent and bounced when it went on.
alter table {s}campaigns add column plan text collate "C" not null default '{}';
alter table {s}campaigns add column winner smallint;
alter table {s}campaigns add column decided_at bigint;
alter table {s}campaigns add column decided_by text collate "C";
alter table {s}campaigns add column paused_because text collate "C";
alter table {s}campaigns add column guard_ended bigint not null default 0;
alter table {s}campaigns add column guard_bounced bigint not null default 0;

-- The part of a campaign that a customer is in, and the variant that they get.
alter table {s}deliveries add column arm smallint;
alter table {s}deliveries add column variant smallint;

-- The templates that variants use; their versions are fixed by the launch.
create table {s}campaign_variants (
  campaign_number integer not null,
  variant integer not null,
  template_number integer not null,
  template_version integer,
  primary key (campaign_number, variant)
);

-- What operators must know: one row a cause, from its beginning to its end.
create table {s}alerts (
  id uuid primary key not null,
  kind text collate "C" not null,
  subject text collate "C" not null,
  message text collate "C" not null,
  campaign_id uuid,
  raised_at bigint not null,
  ended_at bigint,
  acknowledged_at bigint,
  acknowledged_by text collate "C",
  mailed_at bigint,
  end_mailed_at bigint
);
create unique index alerts_open on {s}alerts (kind, subject) where ended_at is null;
create index alerts_by_time on {s}alerts (raised_at, id);
create index alerts_unread on {s}alerts (raised_at) where acknowledged_at is null;
