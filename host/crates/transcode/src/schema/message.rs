//! One message after the other: its fields, what is nested in it, its plan and its comments.

use std::sync::Arc;

use prost_types::DescriptorProto;
use wit_parser::{Type, TypeId};

use super::{
    DeriveError, build::Builder, descriptor, ledger::Place, streams::StreamItem, types::Ty,
};
use crate::{
    lock::{Item, Slot, TypeKind},
    plan::{Body, CasePlan, FieldKind, FieldPlan, MessagePlan, Shape},
};

/// Where a message stands.
pub(super) struct Scope {
    pub(super) package: String,
    /// Of the lock.
    pub(super) key: String,
    pub(super) full_name: String,
    /// The simple names of this message and those around it.
    pub(super) names: Vec<String>,
}

/// One member of a message to be.
pub(super) struct Part<'a> {
    pub(super) wit_name: &'a str,
    pub(super) docs: Option<&'a str>,
    pub(super) holds: Holds<'a>,
}

#[derive(Clone, Copy)]
pub(super) enum Holds<'a> {
    Field(Type),
    Case(Option<Type>),
    Flag,
    /// A chunk of bytes, as a field or as a case.
    Chunk {
        is_case: bool,
    },
    /// A case that holds a message of the other parameters.
    Start(&'a [Part<'a>]),
    /// A handle that its resource goes with.
    Own(TypeId),
    /// The id of a handle.
    Id,
}

pub(super) struct Built {
    pub(super) descriptor: DescriptorProto,
    pub(super) plan: Arc<MessagePlan>,
    /// Paths from this message on.
    pub(super) comments: Vec<(Vec<i32>, String)>,
}

const FIELD: i32 = 2;
const NESTED: i32 = 3;

impl<'a> Part<'a> {
    pub(super) fn field(wit_name: &'a str, ty: Type) -> Self {
        Self { wit_name, docs: None, holds: Holds::Field(ty) }
    }

    pub(super) fn case(wit_name: &'a str, ty: Option<Type>) -> Self {
        Self { wit_name, docs: None, holds: Holds::Case(ty) }
    }

    /// An item of a stream, in a oneof or as the message's only field.
    pub(super) fn item(wit_name: &'a str, item: StreamItem, is_case: bool) -> Self {
        match item {
            StreamItem::Chunk => Self { wit_name, docs: None, holds: Holds::Chunk { is_case } },
            StreamItem::Value(ty) if is_case => Self::case(wit_name, Some(ty)),
            StreamItem::Value(ty) => Self::field(wit_name, ty),
        }
    }

    pub(super) fn docs(self, docs: &'a wit_parser::Docs) -> Self {
        Self { docs: docs.contents.as_deref(), ..self }
    }

    fn is_map(&self, builder: &Builder<'_>) -> bool {
        matches!(self.holds, Holds::Field(ty) if matches!(builder.types.ty(ty), Some(Ty::Map(..))))
    }
}

impl Scope {
    pub(super) fn top(package: &str, key: String, name: String) -> Self {
        let full_name = format!("{package}.{name}");
        Self { package: package.to_owned(), key, full_name, names: vec![name] }
    }

    fn nested(&self, key: String, name: String) -> Self {
        let full_name = format!("{}.{name}", self.full_name);
        let mut names = self.names.clone();
        names.push(name);
        Self { package: self.package.clone(), key, full_name, names }
    }
}

/// A member whose place and type are known.
struct Member {
    place: Place,
    wit_name: String,
    holds: Filled,
}

enum Filled {
    Field(FieldKind),
    Case(Option<Shape>),
}

impl Builder<'_> {
    /// Builds the message of a scope whose name has been given out under its kind.
    pub(super) fn message(
        &mut self,
        scope: &Scope,
        kind: TypeKind,
        parts: &[Part<'_>],
    ) -> Result<Built, DeriveError> {
        self.spend(parts.len())?;
        let mut given = self.ledger(&scope.package).members(&scope.key);
        // Every field is named before anything nested is, so that neither depends on the other's
        // place.
        let mut places = Vec::with_capacity(parts.len());
        for part in parts {
            let is_map = part.is_map(self);
            let ledger = self.ledger(&scope.package);
            places.push(ledger.field(&scope.key, &mut given, part.wit_name, is_map)?);
        }
        let mut draft = Draft { scope, given, nested: Vec::new() };
        let mut members = Vec::with_capacity(parts.len());
        for (part, place) in parts.iter().zip(places) {
            let holds = self.fill(&mut draft, part)?;
            let slot = Some(holds.slot());
            self.ledger(&scope.package).record(&scope.key, part.wit_name, &place, slot);
            members.push(Member { place, wit_name: part.wit_name.to_owned(), holds });
        }
        let nested = draft.nested;
        Ok(self.assemble(scope, kind, parts, members, nested))
    }

    fn fill(&mut self, draft: &mut Draft<'_>, part: &Part<'_>) -> Result<Filled, DeriveError> {
        Ok(match part.holds {
            Holds::Flag => {
                Filled::Field(FieldKind::Singular(Shape::Scalar(crate::plan::Scalar::Bool)))
            }
            Holds::Chunk { is_case: true } => Filled::Case(Some(Shape::Bytes)),
            Holds::Chunk { is_case: false } => Filled::Field(FieldKind::Singular(Shape::Bytes)),
            Holds::Start(parts) => {
                let start = self.nested(draft, part.wit_name, TypeKind::Request, parts)?;
                Filled::Case(Some(start))
            }
            Holds::Id => Filled::Field(FieldKind::Singular(Shape::Bytes)),
            Holds::Own(resource) => {
                let handle = self.handle(&draft.scope.package, resource, true)?;
                Filled::Field(FieldKind::Singular(handle))
            }
            Holds::Case(None) => Filled::Case(None),
            Holds::Case(Some(ty)) => Filled::Case(Some(self.shape(draft, part.wit_name, ty)?)),
            Holds::Field(ty) => Filled::Field(self.field_kind(draft, part.wit_name, ty)?),
        })
    }

    fn field_kind(
        &mut self,
        draft: &mut Draft<'_>,
        wit_name: &str,
        ty: Type,
    ) -> Result<FieldKind, DeriveError> {
        Ok(match self.ty(ty)? {
            Ty::Option(inner) => FieldKind::Optional(self.shape(draft, wit_name, inner)?),
            Ty::List(inner) => FieldKind::Repeated(self.shape(draft, wit_name, inner)?),
            Ty::Map(key, value) => {
                FieldKind::Map { key, value: self.shape(draft, wit_name, value)? }
            }
            _ => FieldKind::Singular(self.shape(draft, wit_name, ty)?),
        })
    }

    /// What stands for one value where protobuf allows exactly one.
    fn shape(
        &mut self,
        draft: &mut Draft<'_>,
        wit_name: &str,
        ty: Type,
    ) -> Result<Shape, DeriveError> {
        match self.ty(ty)? {
            Ty::Scalar(scalar) => Ok(Shape::Scalar(scalar)),
            Ty::Bytes => Ok(Shape::Bytes),
            Ty::Named(id) => self.named(&draft.scope.package, id),
            Ty::Handle { resource, owned } => self.handle(&draft.scope.package, resource, owned),
            Ty::Tuple(types) => {
                let names: Vec<String> = (0..types.len()).map(|at| format!("f{at}")).collect();
                let parts: Vec<_> =
                    names.iter().zip(types).map(|(name, ty)| Part::field(name, *ty)).collect();
                self.nested(draft, wit_name, TypeKind::Tuple, &parts)
            }
            Ty::Result(ok, error) => {
                let parts = [Part::case("ok", ok), Part::case("error", error)];
                self.nested(draft, wit_name, TypeKind::Result, &parts)
            }
            Ty::Option(_) => {
                self.nested(draft, wit_name, TypeKind::Wrapper, &[Part::field("value", ty)])
            }
            Ty::List(_) => {
                self.nested(draft, wit_name, TypeKind::Wrapper, &[Part::field("items", ty)])
            }
            Ty::Map(..) => {
                self.nested(draft, wit_name, TypeKind::Wrapper, &[Part::field("entries", ty)])
            }
        }
    }

    fn nested(
        &mut self,
        draft: &mut Draft<'_>,
        wit_name: &str,
        kind: TypeKind,
        parts: &[Part<'_>],
    ) -> Result<Shape, DeriveError> {
        let Scope { package, key, names, .. } = draft.scope;
        let ledger = self.ledger(package);
        let (key, name) = ledger.nested_type(key, &mut draft.given, names, wit_name, kind);
        let built = self.message(&draft.scope.nested(key, name), kind, parts)?;
        let plan = Arc::clone(&built.plan);
        draft.nested.push(built);
        Ok(Shape::Message(plan))
    }

    fn assemble(
        &mut self,
        scope: &Scope,
        kind: TypeKind,
        parts: &[Part<'_>],
        members: Vec<Member>,
        nested: Vec<Built>,
    ) -> Built {
        let mut message =
            DescriptorProto { name: scope.names.last().cloned(), ..Default::default() };
        for member in &members {
            match &member.holds {
                Filled::Field(kind) => {
                    descriptor::field(&mut message, &scope.full_name, &member.place, kind);
                }
                Filled::Case(shape) => {
                    if shape.is_none() {
                        self.import(&scope.package, super::file::EMPTY_FILE);
                    }
                    descriptor::case(&mut message, &member.place, shape.as_ref());
                }
            }
        }
        if members.iter().any(|member| matches!(member.holds, Filled::Case(_))) {
            let names = members.iter().map(|member| member.place.name.as_str());
            message.oneof_decl.push(descriptor::oneof(oneof_name(kind, names)));
        }
        descriptor::add_synthetic_oneofs(&mut message);
        descriptor::reserve_fields(&mut message, &self.ledger(&scope.package).removed(&scope.key));
        let mut comments: Vec<(Vec<i32>, String)> = (0..)
            .zip(parts)
            .filter_map(|(at, part)| Some((vec![FIELD, at], part.docs?.to_owned())))
            .collect();
        for one in nested {
            let at = i32::try_from(message.nested_type.len()).unwrap_or(i32::MAX);
            comments.extend(
                one.comments
                    .into_iter()
                    .map(|(path, text)| ([NESTED, at].into_iter().chain(path).collect(), text)),
            );
            message.nested_type.push(one.descriptor);
        }
        let plan = Arc::new(MessagePlan::new(scope.full_name.clone(), body(kind, members)));
        Built { descriptor: message, plan, comments }
    }
}

/// A message under construction: what it has given out, and the messages nested in it.
struct Draft<'s> {
    scope: &'s Scope,
    given: super::ledger::Members,
    nested: Vec<Built>,
}

impl Filled {
    fn slot(&self) -> Slot {
        match self {
            Self::Field(kind) => kind.into(),
            Self::Case(Some(shape)) => Slot::One(shape.into()),
            Self::Case(None) => Slot::One(Item::Empty),
        }
    }
}

impl Member {
    fn field(self) -> Option<FieldPlan> {
        let Self { place: Place { number, name }, wit_name, holds } = self;
        match holds {
            Filled::Field(kind) => Some(FieldPlan { number, wit_name, proto_name: name, kind }),
            Filled::Case(_) => None,
        }
    }

    fn case(self) -> Option<CasePlan> {
        let Self { place: Place { number, name }, wit_name, holds } = self;
        match holds {
            Filled::Case(payload) => Some(CasePlan { number, wit_name, proto_name: name, payload }),
            Filled::Field(_) => None,
        }
    }
}

/// A variant's oneof is `kind`, or `kind_` where a case has that name.
fn oneof_name<'a>(kind: TypeKind, mut cases: impl Iterator<Item = &'a str>) -> &'static str {
    match kind {
        TypeKind::RequestStream => "message",
        TypeKind::ResponseStream => "event",
        TypeKind::Variant if cases.any(|name| name == "kind") => "kind_",
        TypeKind::Variant => "kind",
        _ => "result",
    }
}

fn body(kind: TypeKind, members: Vec<Member>) -> Body {
    let has_cases = members.iter().any(|member| matches!(member.holds, Filled::Case(_)));
    if has_cases {
        let mut cases: Vec<CasePlan> = members.into_iter().filter_map(Member::case).collect();
        if matches!(kind, TypeKind::Response | TypeKind::Result) && cases.len() == 2 {
            let (Some(error), Some(ok)) = (cases.pop(), cases.pop()) else {
                return Body::Variant(cases);
            };
            return Body::Result { ok, error };
        }
        return Body::Variant(cases);
    }
    let mut fields: Vec<FieldPlan> = members.into_iter().filter_map(Member::field).collect();
    match kind {
        TypeKind::Record => Body::Record(fields),
        TypeKind::Tuple => Body::Tuple(fields),
        TypeKind::Flags => Body::Flags(fields),
        TypeKind::Wrapper if fields.len() == 1 => match fields.pop() {
            Some(field) => Body::Wrapper(field),
            None => Body::Fields(fields),
        },
        _ => Body::Fields(fields),
    }
}
