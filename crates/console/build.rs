//! Embeds a fresh console: the folder's content is read while this crate compiles, and Cargo does not see new files in it by itself.

fn main() {
    println!("cargo::rerun-if-changed=../../console/dist");
}
