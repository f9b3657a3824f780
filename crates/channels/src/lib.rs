//! How messages leave the hub, a folder each. A channel carries finished messages and reports what
//! became of them; it knows nothing of customers, campaigns or the store.

pub mod email;
