//! WIT ↔ protobuf: the derived schema, its lock, and the codec between messages and values.
//!
//! Pure: no IO, no clock, nothing spawned. Of wasmtime it knows the value type alone.

mod codec;
mod compat;
mod described;
mod import;
mod lock;
mod names;
mod plan;
mod print;
mod schema;
mod world;

pub use codec::{
    CopyBudget, EncodeError, Handles, NoHandles, StreamRequest, StreamResponse, check_request,
    decode_request, decode_request_with, decode_response, decode_stream_request,
    encode_chunk_header, encode_request, encode_response, encode_response_with,
    encode_stream_response, first_handle,
};
pub use compat::{Break, compare};
pub use described::{describe, descriptor_set};
pub use import::{Import, Misfit, Served, Unbindable};
pub use lock::{Lock, LockError, Locks};
pub use plan::{
    Action, Body, CasePlan, EnumPlan, ExportPath, FieldKind, FieldPlan, HandlePlan, InputPlan,
    MessagePlan, MethodPlan, OutputPlan, ResponsePlan, Scalar, Shape,
};
pub use print::print_proto;
pub use schema::{
    CallKind, DeriveError, Derived, FunctionShape, Interface, NamedKind, NamedType, ServicePlan,
    TypeMember, TypeName, TypeRef, Unmapped, derive,
};
pub use world::{
    WIT_SECTION, World, WorldError, componentize, embed_wit, embedded_wit, preview1_adapter,
    to_component,
};
