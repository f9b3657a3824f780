-- When retention took the addresses and replies of a campaign's messages away, and the file and the
-- refused rows of an import; null where they are still there.
alter table {s}campaigns add column details_gone_at bigint;
alter table {s}imports add column files_gone_at bigint;
