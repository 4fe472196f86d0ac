//! An error and what caused it: the one place where a chain of errors is walked to be shown.

use std::error::Error;
use std::io;
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

/// Whether this is about a pipe that nobody reads any more, as after `| head`: that is no failure to tell of. A
/// pipe to a program that was started is told with that program.
pub fn nobody_reads(error: &(dyn Error + 'static)) -> bool {
    let written = error.downcast_ref::<io::Error>();
    written.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {

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

    #[test]
    fn a_pipe_of_our_own_is_told_from_one_to_a_program() {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(nobody_reads(&closed()) && !nobody_reads(&Unwritten(closed())));
    }
}
