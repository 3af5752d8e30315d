//! The rules for keys that all jobs share.

mod management_credentials;
mod ownership;
mod verification;

use super::*;
