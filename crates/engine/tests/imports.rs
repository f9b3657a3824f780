//! Imports from the uploaded file to the rows and the report, on both engines: what is good is
//! applied once, what is bad comes back with a reason.

mod imports {
    mod bad_input;
    mod crashes;
    pub mod files;
    mod journeys;
    mod named;
    mod packed;
    mod replacing;
    mod shapes;
    mod trials;
    mod undoing;
}
