//! The custom resources: [`MafaldaCluster`] and [`Session`].
//!
//! What the types say is the schema: units, defaults and ranges stand in the doc comments too,
//! as `kubectl explain` shows those. A rule that the API server can check is in the schema, with
//! a message that names the field and says what is allowed; the operator then meets no wrong
//! manifest. `crds/` holds the definitions that these types make; a test fails when they differ.

mod apply;
mod cluster;
mod exposure;
mod files;
mod pod_template;
mod schema;
mod session;

pub use apply::{ApplyError, Change, apply};
pub use cluster::{
    Between, MafaldaCluster, MafaldaClusterSpec, MafaldaClusterStatus, Pipes, PodVersion, Pool,
};
pub use exposure::{
    AddressFamily, AddressSource, AnnouncedAddress, Exposure, ExposureType, PortRange,
};
pub use files::{Error, print, write};
pub use pod_template::{ImagePullPolicy, ImagePullSecret, PodTemplate};
pub use session::{
    ClusterRef, Lifetime, Phase, Placement, Session, SessionSpec, SessionStatus, Spread,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// Both definitions, as they are applied to a cluster.
pub fn all() -> [CustomResourceDefinition; 2] {
    [MafaldaCluster::crd(), Session::crd()].map(schema::tidy)
}
