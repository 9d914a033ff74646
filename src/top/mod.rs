//! The live page in a terminal: pure, from the JSON of a snapshot and the keys to the cells of a screen.
//!
//! `command::top` brings snapshots, keys and the terminal. What is shown is what the landing page shows: the verdict first, then
//! the roofline, the figures, where the time goes and how it was before.

pub mod app;
mod figures;
mod headline;
mod history;
mod list;
pub mod palette;
mod roofline;
pub mod screen;
