//! `Format`: the forms that a result is printed in.

use clap::ValueEnum;

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs; carries `schema`.
    Json,
}
