//! No secret is ever printed.
