//! What the hub does: one module per noun, and the jobs that run in the background.
//!
//! This crate would look the same if no foreign protocol existed: it takes changes and answers with
//! outcomes, and what goes out is a delivery.

pub mod accounts;
pub mod alerts;
pub mod audit;
pub mod blocks;
pub mod campaigns;
pub mod changes;
pub mod checks;
pub mod consents;
pub mod customers;
pub mod definitions;
pub mod deliveries;
pub mod diff;
pub mod error;
pub mod forms;
pub mod groups;
pub mod hub;
pub mod idempotency;
pub mod images;
pub mod imports;
pub mod jobs;
pub mod keys;
pub mod links;
pub mod mail;
pub mod mailbox;
pub mod merges;
pub mod messages;
pub mod nodes;
pub mod overview;
pub mod pages;
pub mod personal;
pub mod preferences;
pub mod relays;
pub mod retention;
pub mod schema;
pub mod secrets;
pub mod segments;
pub mod senders;
pub mod sending_rules;
pub mod storage;
pub mod suppressions;
pub mod templates;
pub mod topics;
pub mod tracking;

pub use error::{Error, Fault, Result};
pub use hub::{Ctx, Hub, Settings};
