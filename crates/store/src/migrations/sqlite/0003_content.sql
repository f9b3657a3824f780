-- How a template's body is written, and the same message in other languages as JSON.
alter table template_versions add column format text not null default 'html';
alter table template_versions add column variants text not null default '[]';

-- Named snippets that templates and each other include; versioned as templates are.
create table blocks (
  number integer primary key not null,
  id blob not null unique,
  name text not null unique,
  version integer not null,
  created_at integer not null,
  updated_at integer not null
);

create table block_versions (
  block_number integer not null,
  version integer not null,
  body text not null,
  created_at integer not null,
  primary key (block_number, version)
) without rowid;

-- Pictures of mails. They are rows, so that a backup has them and every node can show them.
create table images (
  number integer primary key not null,
  id blob not null unique,
  -- The public address' secret part.
  secret text not null unique,
  name text not null,
  kind text not null,
  width integer not null,
  height integer not null,
  size_bytes integer not null,
  created_at integer not null
);

create table image_files (
  image_number integer primary key not null,
  bytes blob not null
);

-- What is added to the links of a campaign's mails, as JSON; empty where nothing is.
alter table campaigns add column link_parameters text not null default '';
