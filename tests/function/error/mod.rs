//! Tests of `src/error`: messages and remedies.

mod remedies;

use super::*;
