//! What is observed and what is due, as tables: objects of the API server and reports of pods in,
//! the plan's view and jobs out. No cluster, no pod.

mod book;
mod cluster_status;
mod doubt;
mod fixtures;
mod jobs;
mod observe;
mod takeover;
