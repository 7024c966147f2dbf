//! Errors as people read them.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};

/// The messages of an error and all its causes, with colons between them.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    message
}

/// A line on stderr, if somebody listens: that nobody does is no reason to end, and `eprintln!` would panic.
pub fn say(text: fmt::Arguments<'_>) {
    let mut line = text.to_string();
    line.push('\n');
    // Where it cannot be said there is nowhere to say so.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// A line on stderr, as `eprintln!` writes it, if somebody listens.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => {
        $crate::say(format_args!($($text)*))
    };
}

/// A line on stdout, for the program that waits for it.
///
/// # Errors
/// Where nobody reads it, or it cannot be written: `println!` would panic.
pub fn print_line(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the count")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn an_error_is_told_with_its_causes_in_one_line() {
        let Err(cause) = "x".parse::<u8>() else {
            panic!("x is no number");
        };
        assert_eq!(chain(&Outer(cause)), "the count: invalid digit found in string");
    }
}
