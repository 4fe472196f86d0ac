//! PID 1 of the live medium and stage 1 of the embedded platform.

fn main() {}
