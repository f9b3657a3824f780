//! The rows of the table: each sets its stage, runs its rounds and checks what came out.

pub mod campaign;
pub mod events;
pub mod import;
pub mod render;
pub mod search;
pub mod start;
pub mod upsert;
