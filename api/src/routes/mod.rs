//! The routes, by what they tell of.

pub(crate) mod audit;
pub(crate) mod ingest;
pub(crate) mod page;
pub(crate) mod policy;
pub(crate) mod process;
pub(crate) mod readiness;
