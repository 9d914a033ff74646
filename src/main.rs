//! Parses the command line, dispatches, sets the exit code.

fn main() {}
