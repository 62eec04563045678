//! The words of Roadstead: names, versions, limits, specs, faults and routes.
//!
//! Everything here is a value. This crate performs no IO, reads no clock and spawns nothing; it
//! knows neither wasm nor gRPC. A value that exists is valid: names, versions and limits can only
//! be made by parsing.

mod address;
mod causes;
mod digest;
mod fault;
mod names;
mod offer;
mod route;
#[cfg(feature = "schema")]
mod schema;
mod spec;
mod traffic;
mod units;
mod version;

pub use address::is_public;
pub use causes::with_causes;
pub use digest::{Digest, DigestError, DigestHasher};
pub use fault::{
    BindingFault, BindingHop, BindingProblem, Credentials, Fault, FieldViolation, LimitKind,
    LimitReached, NotGranted,
};
pub use names::{
    CallId, HostName, InstanceOrigin, ModuleId, ModuleName, ModuleRef, NameError, Namespace,
};
pub use offer::{Grantee, NetworkOffer};
pub use route::{Candidate, RouteError, select_version, select_versions};
pub use spec::{
    Binding, Capabilities, Clocks, DirectoryGrant, DirectoryMode, HostPort, HttpTarget,
    InstancePolicy, Instances, Limits, ModuleSpec, NativeSpec, Network, Probes, Quota, Random,
    Resources, Share, SpecError, SpecFormat, Tpu,
};
pub use traffic::{MOST_SHARES, Traffic, TrafficError, Turns};
pub use units::{ByteRate, ByteSize, MessageSize, Millicores, Span, UnitError};
pub use version::{Track, Version, VersionError};
