//! The Kubernetes operator: what people write ([`crd`]), and what makes it so.
//!
//! The way of the data: [`index`] (what the API server has) and [`pod_api`] (what the pods say) are
//! put together by [`observe`], with what was decided before ([`book`]). `mafalda_plan` decides.
//! [`cluster::jobs`] tells what is to be done for it, [`cluster::perform`] does it. All between the
//! two ends is pure; [`cluster::actor`] is the loop around it.

pub mod book;
pub mod check;
pub mod clock;
pub mod cluster;
pub mod conditions;
pub mod crd;
pub mod events;
pub mod http;
pub mod index;
pub mod lead;
pub mod lease;
pub mod media_pod;
pub mod metrics;
pub mod names;
pub mod observe;
pub mod pod_api;
pub mod run;
pub mod secrets;
pub mod session;
