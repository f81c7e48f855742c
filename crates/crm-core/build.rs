//! A new migration makes a new program.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
