-- When retention took the addresses and replies of a campaign's messages away, and the file and the
-- refused rows of an import; null where they are still there.
alter table campaigns add column details_gone_at integer;
alter table imports add column files_gone_at integer;
