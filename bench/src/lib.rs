//! Generated traffic to measure the engine with.
