//! The bedplate command: thin, one file per subcommand.

fn main() {}
