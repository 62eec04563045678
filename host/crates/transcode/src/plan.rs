//! How the values of one method lie in its protobuf messages.
//!
//! A plan is made once, when a module is published, from its WIT types and the lock's numbers.
//! WIT types are not recursive, so plans are trees; named types are shared.

use std::sync::Arc;

/// The exported function behind a method.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExportPath {
    /// The exported instance, like `demo:calc/ops@0.1.0` or an inline name; none for functions of
    /// the world itself.
    pub interface: Option<String>,
    pub function: String,
}

/// One rpc: where it stands, what it calls and how its messages are read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodPlan {
    /// Full name of the service.
    pub service: String,
    pub method: String,
    pub export: ExportPath,
    /// [`Body::Fields`], in the order of the parameters.
    pub request: Arc<MessagePlan>,
    pub response: ResponsePlan,
}

/// What the response message holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponsePlan {
    /// The function has no result.
    Empty,
    /// The field `value`.
    Value(FieldPlan),
    /// The function returns a `result`: [`Body::Result`] is the response itself.
    Result(Arc<MessagePlan>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePlan {
    /// Full protobuf name, without a leading dot.
    pub name: String,
    pub body: Body,
}

/// What kind of WIT value a message stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The parameters of a function.
    Fields(Vec<FieldPlan>),
    Record(Vec<FieldPlan>),
    Tuple(Vec<FieldPlan>),
    /// One `bool` per flag.
    Flags(Vec<FieldPlan>),
    Variant(Vec<CasePlan>),
    Result {
        ok: CasePlan,
        error: CasePlan,
    },
    /// A list, option or map where protobuf cannot hold the field as it is.
    Wrapper(FieldPlan),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPlan {
    pub number: u32,
    pub wit_name: String,
    pub proto_name: String,
    pub kind: FieldKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CasePlan {
    pub number: u32,
    pub wit_name: String,
    pub proto_name: String,
    /// None: `google.protobuf.Empty`.
    pub payload: Option<Shape>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldKind {
    Singular(Shape),
    /// `option<T>`.
    Optional(Shape),
    /// `list<T>`; numbers are packed.
    Repeated(Shape),
    Map {
        key: Scalar,
        value: Shape,
    },
}

/// One value, without regard to how often it may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    Scalar(Scalar),
    /// `list<u8>`.
    Bytes,
    Enum(Arc<EnumPlan>),
    Message(Arc<MessagePlan>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scalar {
    Bool,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F32,
    F64,
    Char,
    String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnumPlan {
    /// Full protobuf name, without a leading dot.
    pub name: String,
    /// Number and WIT name of every case.
    pub cases: Vec<(i32, String)>,
}
