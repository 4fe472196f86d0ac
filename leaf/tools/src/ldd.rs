//! `ldd`: the libraries a program is linked with.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// The loader and all libraries of `program`, as paths on this machine; `Err` inside names a
/// library that is not there.
pub fn libraries(program: &Path) -> Result<Result<Vec<PathBuf>, String>, CommandError> {
    Ok(parse(&Command::new("ldd").arg(program).env("LC_ALL", "C").read()?))
}

fn parse(output: &str) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for line in output.lines().map(str::trim) {
        let (name, target) = line.split_once(" => ").unwrap_or((line, line));
        if target.starts_with("not found") {
            return Err(name.to_owned());
        }
        let path = target.split(" (").next().unwrap_or(target);
        if path.starts_with('/') {
            found.push(PathBuf::from(path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_loader_are_found_and_a_missing_one_is_named() {
        let output = "\tlinux-vdso.so.1 (0x7)\n\tlibc.so.6 => /lib/libc.so.6 (0x7f)\n\t/lib64/ld.so (0x7f)\n";
        let expected = vec![PathBuf::from("/lib/libc.so.6"), PathBuf::from("/lib64/ld.so")];
        assert_eq!(parse(output), Ok(expected));
        assert_eq!(parse("\tliba.so => not found\n"), Err("liba.so".to_owned()));
    }
}
