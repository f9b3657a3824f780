//! Audiences over time, on both engines: who is in a segment follows changes and the clock, comings
//! and goings are told, and an evaluation that is cut off goes on.

mod audiences {
    mod clock;
    mod evaluation;
    mod explain;
    mod random;
    mod transitions;
    pub mod world;
}
