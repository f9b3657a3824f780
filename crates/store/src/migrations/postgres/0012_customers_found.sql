-- What customers are found by while somebody types: the numbers of all runs of three characters. It
-- holds what the customers hold, so it is no part of an archive.
create table {s}search_texts (
  bucket smallint not null,
  customer_id uuid not null,
  system_id bigint not null,
  text text collate "C" not null,
  grams integer[] not null,
  primary key (bucket, customer_id)
) {hot search_texts bucket};
create index search_texts_in_order on {s}search_texts (system_id);
create index search_texts_by_gram on {s}search_texts using gin (grams);

-- System ids whose texts are not made yet, or no more as they were.
create table {s}search_pending (
  bucket smallint not null,
  id uuid not null,
  low bigint not null,
  high bigint not null,
  bulk smallint not null,
  primary key (bucket, id)
) {hot search_pending bucket};
insert into {s}search_pending (bucket, id, low, high, bulk)
  select 0, '00000000-0000-0000-0000-000000000000', 1, 9223372036854775807, 1
  where exists (select 1 from {s}customers);
