//! How the values of one method lie in its protobuf messages.
//!
//! A plan is made once, when a module is published, from its WIT types and the lock's numbers.
//! WIT types are not recursive, so plans are trees; named types are shared.

use std::{fmt, sync::Arc};

use serde::Serialize;

/// The exported function behind a method.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExportPath {
    /// The exported instance, like `demo:calc/ops@0.1.0` or an inline name; none for functions of
    /// the world itself.
    pub interface: Option<String>,
    pub function: String,
}

/// `demo:calc/ops@0.1.0#add`, or the function alone where it is the world's own.
impl fmt::Display for ExportPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.interface {
            Some(interface) => write!(f, "{interface}#{}", self.function),
            None => f.write_str(&self.function),
        }
    }
}

/// One rpc: where it stands, what it calls and how its messages are read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodPlan {
    /// Full name of the service.
    pub service: String,
    pub method: String,
    pub export: ExportPath,
    pub action: Action,
    /// [`Body::Fields`], in the order of the parameters; without the one that `input` is.
    pub request: Arc<MessagePlan>,
    /// The stream that callers send, where the function takes one.
    pub input: Option<InputPlan>,
    pub response: ResponsePlan,
}

/// What a call of a method does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    /// Calls the exported function.
    #[default]
    Call,
    /// Drops the resource behind the only handle of the request.
    Drop,
}

impl MethodPlan {
    /// Whether requests may hold handles, which decide where the method is called.
    pub fn takes_handles(&self) -> bool {
        self.request.handles
    }

    /// Whether responses may hold handles, behind which something must live on.
    pub fn gives_handles(&self) -> bool {
        match &self.response {
            ResponsePlan::Empty => false,
            ResponsePlan::Value(field) => field.kind.holds_handles(),
            ResponsePlan::Result(message) => message.handles,
            ResponsePlan::Stream(output) => output.holds_handles(),
        }
    }

    /// The stream that callers receive, where the function returns one.
    pub fn output(&self) -> Option<&OutputPlan> {
        match &self.response {
            ResponsePlan::Stream(output) => Some(output),
            ResponsePlan::Empty | ResponsePlan::Value(_) | ResponsePlan::Result(_) => None,
        }
    }

    /// Whether more than one message may go one way or the other.
    pub fn is_streaming(&self) -> bool {
        self.input.is_some() || self.output().is_some()
    }
}

/// A parameter that callers send message by message: each holds the other parameters (`start`) or
/// one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputPlan {
    /// Its place among the function's parameters.
    pub position: usize,
    /// The parameter is a `tuple<stream<T>, future<result<_, E>>>`, not the stream alone.
    pub settles: bool,
    /// [`Body::Variant`] of [`START`] and [`ITEM`].
    pub(crate) message: Arc<MessagePlan>,
    pub item: Shape,
}

/// The WIT names under which plans and locks know the messages of a stream: none that WIT gives
/// clashes with them, as the parameters stand one level below.
pub(crate) const START: &str = "start";
pub(crate) const ITEM: &str = "item";
pub(crate) const ERROR: &str = "error";

/// What the messages of a stream of responses hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputPlan {
    /// `stream<T>`: an item each.
    Items(FieldPlan),
    /// `result<stream<T>, E>`: an item each, or one error in place of all items.
    OrError { item: CasePlan, error: CasePlan },
    /// `tuple<stream<T>, future<result<_, E>>>`: an item each, and in the end perhaps an error.
    ThenError { item: CasePlan, error: CasePlan },
}

impl OutputPlan {
    fn holds_handles(&self) -> bool {
        let payload = |case: &CasePlan| case.payload.as_ref().is_some_and(Shape::holds_handles);
        match self {
            Self::Items(item) => item.kind.holds_handles(),
            Self::OrError { item, error } | Self::ThenError { item, error } => {
                payload(item) || payload(error)
            }
        }
    }

    /// Whether items are bytes, which are sent as chunks of any length (`stream<u8>`).
    pub fn is_bytes(&self) -> bool {
        match self {
            Self::Items(item) => item.kind == FieldKind::Singular(Shape::Bytes),
            Self::OrError { item, .. } | Self::ThenError { item, .. } => {
                item.payload == Some(Shape::Bytes)
            }
        }
    }
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
    /// The function returns a stream: there are any number of responses.
    Stream(OutputPlan),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePlan {
    /// Full protobuf name, without a leading dot.
    pub name: String,
    pub body: Body,
    index: Index,
    handles: bool,
}

impl MessagePlan {
    pub fn new(name: impl Into<String>, body: Body) -> Self {
        let index = match &body {
            Body::Fields(fields)
            | Body::Record(fields)
            | Body::Tuple(fields)
            | Body::Flags(fields) => Index::new(fields.iter().map(FieldPlan::key)),
            Body::Variant(cases) => Index::new(cases.iter().map(CasePlan::key)),
            Body::Result { ok, error } => Index::new([ok.key(), error.key()].into_iter()),
            Body::Wrapper(field) => Index::new([field.key()].into_iter()),
            Body::Handle(handle) => Index::new([(i64::from(handle.number), "id")].into_iter()),
        };
        let handles = body.holds_handles();
        Self { name: name.into(), body, index, handles }
    }

    /// Whether a handle may stand in it.
    pub fn holds_handles(&self) -> bool {
        self.handles
    }

    /// Where the field or case with a number stands in its body.
    pub(crate) fn position(&self, number: u32) -> Option<usize> {
        self.index.position(i64::from(number))
    }

    /// Where the field or case with a WIT name stands in its body.
    pub(crate) fn named(&self, wit_name: &str) -> Option<usize> {
        self.index.named(wit_name)
    }

    /// The positions of all fields, highest number first.
    pub(crate) fn positions_downwards(&self) -> impl Iterator<Item = usize> {
        self.index.numbers.iter().rev().map(|(_, position)| *position)
    }
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
    /// `own<R>` or `borrow<R>` of an exported resource.
    Handle(HandlePlan),
}

/// A handle of an exported resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlePlan {
    /// Of the field that holds the id.
    pub number: u32,
    /// Full name of the resource's service.
    pub resource: String,
    /// Whether the resource goes with the handle.
    pub owned: bool,
}

impl Body {
    fn holds_handles(&self) -> bool {
        let payload = |case: &CasePlan| case.payload.as_ref().is_some_and(Shape::holds_handles);
        match self {
            Self::Fields(fields) | Self::Record(fields) | Self::Tuple(fields) => {
                fields.iter().any(|field| field.kind.holds_handles())
            }
            Self::Flags(_) => false,
            Self::Variant(cases) => cases.iter().any(payload),
            Self::Result { ok, error } => payload(ok) || payload(error),
            Self::Wrapper(field) => field.kind.holds_handles(),
            Self::Handle(_) => true,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPlan {
    pub number: u32,
    pub wit_name: String,
    pub proto_name: String,
    pub kind: FieldKind,
}

impl FieldPlan {
    fn key(&self) -> (i64, &str) {
        (i64::from(self.number), &self.wit_name)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CasePlan {
    pub number: u32,
    pub wit_name: String,
    pub proto_name: String,
    /// None: `google.protobuf.Empty`.
    pub payload: Option<Shape>,
}

impl CasePlan {
    fn key(&self) -> (i64, &str) {
        (i64::from(self.number), &self.wit_name)
    }
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

impl FieldKind {
    pub(crate) fn shape(&self) -> &Shape {
        match self {
            Self::Singular(shape) | Self::Optional(shape) | Self::Repeated(shape) => shape,
            Self::Map { value, .. } => value,
        }
    }

    fn holds_handles(&self) -> bool {
        self.shape().holds_handles()
    }
}

impl Shape {
    pub(crate) fn holds_handles(&self) -> bool {
        matches!(self, Self::Message(plan) if plan.handles)
    }
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
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
    index: Index,
}

impl EnumPlan {
    pub fn new(name: impl Into<String>, cases: Vec<(i32, String)>) -> Self {
        let index = Index::new(cases.iter().map(|(number, name)| (i64::from(*number), &**name)));
        Self { name: name.into(), cases, index }
    }

    pub(crate) fn name_of(&self, number: i32) -> Option<&str> {
        let (_, name) = self.cases.get(self.index.position(i64::from(number))?)?;
        Some(name)
    }

    pub(crate) fn number_of(&self, wit_name: &str) -> Option<i32> {
        let (number, _) = self.cases.get(self.index.named(wit_name)?)?;
        Some(*number)
    }
}

/// Positions by number and by name. Types may have thousands of cases and callers choose how often
/// one is looked up, so a lookup is never a walk through all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Index {
    numbers: Vec<(i64, usize)>,
    names: Vec<(String, usize)>,
}

impl Index {
    fn new<'a>(keys: impl Iterator<Item = (i64, &'a str)>) -> Self {
        let (mut numbers, mut names): (Vec<_>, Vec<_>) = keys
            .enumerate()
            .map(|(position, (number, name))| ((number, position), (name.to_owned(), position)))
            .unzip();
        numbers.sort_unstable();
        names.sort_unstable();
        Self { numbers, names }
    }

    fn position(&self, number: i64) -> Option<usize> {
        // Nearly always the numbers are 1, 2, 3, …
        let dense = usize::try_from(number).ok()?.checked_sub(1)?;
        if let Some(&(found, position)) = self.numbers.get(dense)
            && found == number
        {
            return Some(position);
        }
        let slot = self.numbers.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.numbers.get(slot).map(|(_, position)| *position)
    }

    fn named(&self, name: &str) -> Option<usize> {
        let slot = self.names.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.names.get(slot).map(|(_, position)| *position)
    }
}
