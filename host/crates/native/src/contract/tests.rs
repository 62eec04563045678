//! Differences of contracts, one by one.
