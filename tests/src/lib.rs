//! End-to-end stories on the harness; one file a story.
