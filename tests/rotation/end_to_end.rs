//! The release binary, driven over the Lambda Runtime API.
