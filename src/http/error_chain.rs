//! An error and its causes as one line.

/// Returns an error and its causes, separated by colons.
pub fn joined(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
