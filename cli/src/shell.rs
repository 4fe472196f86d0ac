//! `bedplate completions` and `bedplate man`: what shells and manual readers are told of the command.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::Arguments;
use crate::report::Failure;

/// Print what a shell wants to complete the command, for its file of completions.
#[derive(clap::Args)]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

/// Write the manual pages of the command and of each subcommand.
#[derive(clap::Args)]
pub struct Manual {
    /// The directory, such as ~/.local/share/man/man1; pages that are there are replaced.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// A page that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("could not write {}", path.display())]
struct PageError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Completions {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<(), Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "bedplate", &mut text);
        Ok(io::stdout().lock().write_all(&text)?)
    }
}

impl Manual {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<(), Failure> {
        let at = |path: &Path, source| PageError { path: path.to_owned(), source };
        fs::create_dir_all(&self.directory).map_err(|source| at(&self.directory, source))?;
        let mut command = Arguments::command();
        command.build();
        let mut count = 0;
        for (name, page) in pages(&command) {
            let path = self.directory.join(format!("{name}.1"));
            fs::write(&path, page?).map_err(|source| at(&path, source))?;
            count += 1;
        }
        let place = self.directory.display();
        Ok(writeln!(io::stdout(), "{count} manual pages are in {place}")?)
    }
}

/// The page of a command and those of what is below it, each with its name: `bedplate-key-create`.
fn pages(command: &Command) -> Vec<(String, io::Result<Vec<u8>>)> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let render = || {
        let mut page = Vec::new();
        Man::new(command.clone()).render(&mut page)?;
        Ok(page)
    };
    let mut found = vec![(name.clone(), render())];
    let below = command.get_subcommands();
    let shown = below.filter(|it| it.get_name() != "help" && !it.is_hide_set());
    found.extend(shown.flat_map(pages));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_a_page_and_every_shell_knows_them() {
        let mut command = Arguments::command();
        command.build();
        let pages = pages(&command);
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["bedplate", "bedplate-plan", "bedplate-key-create", "bedplate-host-add"] {
            assert!(names.contains(&name), "{names:?}");
        }
        for (name, page) in &pages {
            let text = String::from_utf8_lossy(page.as_ref().unwrap()).into_owned();
            assert!(text.contains(".SH SYNOPSIS"), "{name}: {text}");
        }
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "bedplate", &mut text);
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("personalize") && text.contains("inventory"), "{shell}");
        }
    }
}
