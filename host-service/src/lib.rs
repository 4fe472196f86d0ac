//! bedplate-host as a library.
