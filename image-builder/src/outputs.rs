//! What contents become: an ISO so far.

mod iso;

use std::path::Path;

use crate::answers::Answers;
use crate::contents::Contents;
use crate::error::Error;

pub use iso::Iso;

/// A kind of image.
pub trait Output {
    /// Writes an image of the contents; what is at `to` is replaced.
    fn write(&self, contents: &Contents, to: &Path) -> Result<(), Error>;

    /// Writes answers into the place that the image at `to` has for them.
    fn answer(&self, to: &Path, answers: &Answers) -> Result<(), Error>;
}
