//! What is painted how. Whether it is at all, `anstream` decides for each output (`NO_COLOR`, `CLICOLOR_FORCE`,
//! `TERM=dumb`, no terminal): text is written through it, and nobody else asks.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

/// What is lost, or failed.
pub const BAD: Style = AnsiColor::BrightRed.on_default().bold();
/// What is not as it should be.
pub const ODD: Style = AnsiColor::Yellow.on_default().bold();
/// What is well.
pub const WELL: Style = AnsiColor::Green.on_default();
/// What heads other lines.
pub const STRONG: Style = Style::new().bold();

/// Text in a style.
pub fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}
