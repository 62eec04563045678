//! How the values of one method lie in its protobuf messages.
//!
//! A plan is made once, when a module is published, from its WIT types and the lock's numbers.
//! WIT types are not recursive, so plans are trees; named types are shared.

use std::{fmt, sync::Arc};

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
    index: Index,
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
        };
        Self { name: name.into(), body, index }
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
