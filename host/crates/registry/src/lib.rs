//! What ties the parts together: the way of an upload, and the table of what serves.
//!
//! A push goes uploaded → validated → derived → compiled → stored → published, one type per step,
//! each consuming the one before. Nothing of it is visible until the catalog's one transaction
//! names it, and then all of it is; a crash or a refusal anywhere leaves the old version serving.
//!
//! What serves is one immutable [`RouteTable`], swapped whole. Calls that hold a [`LiveVersion`]
//! finish on it, whatever is published meanwhile.

mod answering;
mod bindings;
mod code;
mod derive;
mod error;
mod live;
mod merge;
mod outcomes;
mod push;
mod recipe;
mod registry;
mod request;
mod routes;
mod turns;

pub use bindings::{BindingStanding, BindingState};
pub use error::{ChangeError, DamagedLock, OpenError, PushError};
pub use live::{LiveMethod, LiveModule, LiveVersion, Schema, Standing};
pub use outcomes::Outcomes;
pub use registry::{HeldOffer, Holder, NamespaceQuota, Registry, RegistryConfig, native_fits};
pub use request::{Checked, Phase, Progress, Protos, PushRequest, Pushed};
pub use roadstead_blobs::{Staged, Upload};
pub use roadstead_catalog::{
    BreakRecord, ImportRecord, MethodRecord, PlanEdit, Rollout, RolloutAction, RolloutCondition,
    RolloutEdit, RolloutProgress, ServiceRecord, UnmappedRecord, VersionRecord,
};
pub use roadstead_engine::{BadBinding, OfferKind, UnknownImport};
pub use roadstead_worker::{CompileConfig, CompileLimit, WorkerCounts};
pub use routes::{Edition, RouteTable};
