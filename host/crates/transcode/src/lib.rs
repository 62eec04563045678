//! WIT ↔ protobuf: the derived schema, its lock, and the codec between messages and values.
//!
//! Pure: no IO, no clock, nothing spawned. Of wasmtime it knows the value type alone.

mod codec;
mod compat;
mod lock;
mod names;
mod plan;
mod print;
mod schema;
mod world;

pub use codec::{CopyBudget, EncodeError, decode_request, encode_response};
pub use compat::{Break, compare};
pub use lock::{Lock, LockError, Locks};
pub use plan::{
    Body, CasePlan, EnumPlan, ExportPath, FieldKind, FieldPlan, MessagePlan, MethodPlan,
    ResponsePlan, Scalar, Shape,
};
pub use print::print_proto;
pub use schema::{DeriveError, Derived, ServicePlan, Unmapped, derive};
pub use world::{
    WIT_SECTION, World, WorldError, componentize, embed_wit, embedded_wit, preview1_adapter,
    to_component,
};
