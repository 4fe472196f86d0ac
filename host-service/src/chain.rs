//! An error with all its causes, in one line.

use std::error::Error;

/// What an error and its causes say, outermost first.
pub(crate) fn chain(error: &dyn Error) -> String {
    let texts = std::iter::successors(Some(error), |cause| (*cause).source());
    texts.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
