-- What customers are found by while somebody types: three characters at a time, in the order of
-- system ids. It holds what the customers hold, so it is no part of an archive.
create virtual table search_texts using fts5 (
  text, customer_id unindexed, detail = none, tokenize = 'trigram case_sensitive 1'
);
-- What is taken out is gone from the file, and not only marked.
insert into search_texts (search_texts, rank) values ('secure-delete', 1);

-- System ids whose texts are not made yet, or no more as they were.
create table search_pending (
  bucket integer not null,
  id blob not null,
  low integer not null,
  high integer not null,
  bulk integer not null,
  primary key (id)
) without rowid;
insert into search_pending (bucket, id, low, high, bulk)
  select 0, x'00000000000000000000000000000000', 1, 9223372036854775807, 1
  where exists (select 1 from customers);
