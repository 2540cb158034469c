//! How an answer is printed, where several commands print it so.

use clap::ValueEnum;

/// How an answer about declarations is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people
    #[value(alias = "table")]
    Text,
    /// One JSON object
    Json,
    /// The same as YAML
    Yaml,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    #[value(alias = "table")]
    Text,
    /// One JSON object
    Json,
}
