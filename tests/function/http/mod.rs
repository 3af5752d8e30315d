//! Requests, allowed hosts and network settings.

mod generated;
mod hosts;
mod network;
mod requests;

use super::*;
