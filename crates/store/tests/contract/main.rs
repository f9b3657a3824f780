//! The contract of the store: every test runs on SQLite, on PostgreSQL, and on PostgreSQL with the
//! hot tables partitioned by bucket. One file a noun.

mod changes;
mod database;
mod deliveries;
mod home;
mod jobs;
