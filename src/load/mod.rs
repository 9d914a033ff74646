//! Load tests of our own: what they write down.

pub mod run;
