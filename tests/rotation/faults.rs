//! A fault at every request of a rotation, and the recovery from it.
