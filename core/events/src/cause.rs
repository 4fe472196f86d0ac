//! An error and what caused it: the one place where a chain of errors is walked to be shown.

use std::error::Error;
use std::iter::successors;

/// The error and its causes, outermost first.
pub fn chain<'e>(error: &'e (dyn Error + 'e)) -> impl Iterator<Item = &'e (dyn Error + 'e)> {
    successors(Some(error), |error: &&'e (dyn Error + 'e)| Some((*error).source()? as &dyn Error))
}

/// What the error and its causes say, one text each, outermost first.
pub fn texts(error: &dyn Error) -> Vec<String> {
    chain(error).map(ToString::to_string).collect()
}

/// What the error and its causes say, outermost first, in one line with colons between.
pub fn in_line(error: &dyn Error) -> String {
    texts(error).join(": ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Unwritten(io::Error);

    impl std::fmt::Display for Unwritten {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("could not write")
        }
    }

    impl Error for Unwritten {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn the_outermost_comes_first_and_each_says_its_own_part_alone() {
        let error = Unwritten(io::Error::other("disk on fire"));
        assert_eq!(in_line(&error), "could not write: disk on fire");
        assert_eq!(texts(&error.0), ["disk on fire"]);
    }
}
