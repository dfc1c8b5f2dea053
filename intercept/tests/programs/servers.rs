//! Programs of the distribution.
