//! Every kind of key, in both modes, under both policies.
