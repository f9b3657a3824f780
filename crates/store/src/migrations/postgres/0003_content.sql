-- How a template's body is written, and the same message in other languages as JSON.
alter table {s}template_versions add column format text collate "C" not null default 'html';
alter table {s}template_versions add column variants text collate "C" not null default '[]';

-- Named snippets that templates and each other include; versioned as templates are.
create table {s}blocks (
  number integer primary key not null,
  id uuid not null unique,
  name text collate "C" not null unique,
  version bigint not null,
  created_at bigint not null,
  updated_at bigint not null
);

create table {s}block_versions (
  block_number integer not null,
  version bigint not null,
  body text collate "C" not null,
  created_at bigint not null,
  primary key (block_number, version)
);

-- Pictures of mails. They are rows, so that a backup has them and every node can show them.
create table {s}images (
  number integer primary key not null,
  id uuid not null unique,
  -- The public address' secret part.
  secret text collate "C" not null unique,
  name text collate "C" not null,
  kind text collate "C" not null,
  width bigint not null,
  height bigint not null,
  size_bytes bigint not null,
  created_at bigint not null
);

create table {s}image_files (
  image_number integer primary key not null,
  bytes bytea not null
);

-- What is added to the links of a campaign's mails, as JSON; empty where nothing is.
alter table {s}campaigns add column link_parameters text collate "C" not null default '';
