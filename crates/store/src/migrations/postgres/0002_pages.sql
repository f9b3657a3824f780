-- Members of a segment and deliveries of a campaign are listed by customer, a page at a time. By
-- these a page reads its own rows alone; before, it read those of all segments and campaigns. The
-- rows of one customer are found by the primary key.
drop index {s}segment_members_by_customer;
create index segment_members_by_segment on {s}segment_members (segment_number, customer_id);
drop index {s}deliveries_by_customer;
create index deliveries_by_campaign on {s}deliveries (campaign_number, customer_id);
