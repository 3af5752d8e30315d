//! The clients alone: what they send, what they accept, and what they do when an answer is not what it should be.
