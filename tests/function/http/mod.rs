//! Requests, allowed hosts and network settings.

mod generated;
mod hosts;
pub(crate) mod network;
mod requests;

use super::*;
