//! A workspace as text: the way out and back again, plans, refusals, hostile folders.

#[path = "definitions/folders.rs"]
mod folders;
#[path = "definitions/plans.rs"]
mod plans;
#[path = "definitions/refusals.rs"]
mod refusals;
#[path = "definitions/round_trip.rs"]
mod round_trip;
#[path = "definitions/shop.rs"]
mod shop;
#[path = "definitions/world.rs"]
mod world;
