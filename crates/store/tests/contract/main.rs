//! The contract of the store: every test runs on SQLite, on PostgreSQL, and on PostgreSQL with the
//! hot tables partitioned by bucket. One file a noun.

mod archive;
mod changes;
mod consents;
mod content;
mod deliveries;
mod email;
mod groups;
mod home;
mod idempotency;
mod imports;
mod jobs;
mod merges;
mod migrations;
mod search;
mod storage;
mod suppressions;
