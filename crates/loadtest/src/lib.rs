//! Offline analysis: load tests against a running server, results of this and other tools, their analysis against the roofline, batch-size
//! sweeps, and reports.
//!
//! [`load`] generates a load; [`results`] reads the result files of load-test tools, one module per tool; [`analysis`] compares them with
//! the roofline and with a [`analysis::Recording`] of the same time where there is one; [`report`] and [`chart`] render it; [`sweep`]
//! repeats a load over settings of a server that [`launch`] starts.

pub mod analysis;
pub mod chart;
pub mod launch;
pub mod load;
pub mod report;
pub mod results;
pub mod sweep;
