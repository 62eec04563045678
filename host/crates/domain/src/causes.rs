//! Errors as texts for logs and operators.

use std::error::Error;

/// An error with all its causes, as `what: because: of what`. A cause that an error already tells of
/// itself is not told again.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("read the lock")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("the file: {0}")]
    struct Middle(#[source] io::Error);

    #[test]
    fn causes_are_told_once() {
        let error = Outer(Middle(io::Error::other("no space left")));
        assert_eq!(with_causes(&error), "read the lock: the file: no space left");
        assert_eq!(with_causes(&io::Error::other("alone")), "alone");
    }
}
