//! WIT ↔ protobuf: the derived schema, its lock, and the codec between messages and values.
//!
//! Pure: no IO, no clock, nothing spawned. Of wasmtime it knows the value type alone.

mod codec;
mod plan;

pub use codec::{CopyBudget, EncodeError, decode_request, encode_response};
pub use plan::{
    Body, CasePlan, EnumPlan, ExportPath, FieldKind, FieldPlan, MessagePlan, MethodPlan,
    ResponsePlan, Scalar, Shape,
};
