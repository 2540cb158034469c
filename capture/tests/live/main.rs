//! The agent for real, in network namespaces that the tests make and remove.
//!
//! Making them takes root. Without it a test says so and passes without having tested anything, unless
//! `WIREPROOF_REQUIRE_LIVE` is set, as it is in `make test` when root is at hand.

#![cfg(feature = "agent")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop here")]
#![expect(clippy::print_stderr, reason = "says why it was skipped")]

mod confined;
mod interfaces;
mod lab;
mod recorded;
mod traffic;

/// Not a test of its own: what the ends run inside their namespaces, and what is done in a process that may be killed.
#[test]
fn part() {
    match std::env::var("WIREPROOF_LIVE_PART").as_deref() {
        Ok("serve") => lab::serve(8080),
        Ok("ask") => lab::ask(8080),
        Ok("serve elsewhere") => lab::serve(8081),
        Ok("ask elsewhere") => lab::ask(8081),
        Ok("hold") => lab::hold(),
        Ok("flood") => lab::flood(),
        Ok(other) => confined::part(other),
        Err(_) => {}
    }
}
