//! One MafaldaCluster: looking, planning, doing.

pub mod actor;
pub mod doubt;
pub mod jobs;
pub mod perform;
pub mod refusals;
pub mod status;
