//! The offline half: load tests against a running server, their results and those of other tools, their analysis against the
//! roofline, batch-size sweeps, and reports.
//!
//! [`load`] puts requests on a server; [`results`] reads what load tests wrote, one file per tool; [`analysis`] compares them with
//! the roofline, with a [`analysis::Recording`] of the same time where there is one; [`report`] and [`chart`] draw it; [`sweep`]
//! repeats a load over settings of a server that [`launch`] starts.

pub mod analysis;
pub mod chart;
pub mod launch;
pub mod load;
pub mod report;
pub mod results;
pub mod sweep;
