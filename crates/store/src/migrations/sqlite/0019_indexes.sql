-- What is planned for an address is found by the customer whose it is, so nothing is kept in the
-- order of addresses, where each message wrote to a page of its own.
drop index deliveries_waiting;
-- Customers who changed are judged in this order, however many wait.
create index dirty_customers_in_order on dirty_customers (seq);
