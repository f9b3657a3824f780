//! The rows of the table: each sets its stage, runs its rounds and checks what came out.

pub mod campaign;
pub mod count;
pub mod events;
pub mod growth;
pub mod import;
pub mod live;
pub mod reimport;
pub mod render;
pub mod search;
pub mod signed;
pub mod start;
pub mod upsert;
pub mod window;
