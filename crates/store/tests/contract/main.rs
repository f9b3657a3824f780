//! The contract of the store: every test runs on SQLite, on PostgreSQL, and on PostgreSQL with the
//! hot tables partitioned by bucket. One file a noun.

mod archive;
mod changes;
mod database;
mod deliveries;
mod home;
mod imports;
mod jobs;
mod migrations;
