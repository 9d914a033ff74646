//! The live page in a terminal: a pure function of a snapshot's JSON and the keys to the cells of a screen.
//!
//! `command::top` provides snapshots, keys and the terminal. The screen shows the content of the landing page: the verdict first, then the
//! roofline, the figures, the time by component and its history.

pub mod app;
mod figures;
mod headline;
mod history;
mod list;
pub mod palette;
mod roofline;
pub mod screen;
