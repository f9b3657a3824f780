-- What is planned for an address is found by the customer whose it is, so nothing is kept in the
-- order of addresses, where each message wrote to a page of its own.
drop index {s}deliveries_waiting;
-- Names in their order over all buckets, for those who type the beginning of one.
create index identities_by_value on {s}identities (kind, value);
-- Customers who changed are judged in this order, however many wait.
create index dirty_customers_in_order on {s}dirty_customers (seq);
