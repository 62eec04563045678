//! Which WIT types can be mapped, which definition of a named type counts, and which are in use.
//!
//! Types are looked at in the order of the arena, in which a type stands after those that it is
//! made of. So nothing here recurses over types that an upload can nest as deep as it likes; what
//! passes is shallow enough for the code after it to recurse.

use std::collections::{HashMap, HashSet};

use wit_parser::{Function, Handle, Resolve, Type, TypeDef, TypeDefKind, TypeId, TypeOwner};

use super::{
    exports::{Export, Homes, Package},
    streams::Signature,
};
use crate::plan::Scalar;

/// Messages within messages. Decoders of most languages stop at 100.
const MAX_DEPTH: u32 = 64;
/// Anonymous types within each other, which become nested messages. `protoc` stops at 32.
const MAX_NESTED: u32 = 28;
/// Members of one named type or one function, those of its anonymous types included.
const MAX_SIZE: usize = 20_000;

/// A type with aliases looked through.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ty<'a> {
    Scalar(Scalar),
    Bytes,
    Option(Type),
    List(Type),
    Map(Scalar, Type),
    Tuple(&'a [Type]),
    Result(Option<Type>, Option<Type>),
    /// A handle, by the definition of its resource that counts.
    Handle {
        resource: TypeId,
        owned: bool,
    },
    /// A record, variant, enum or flags: the definition that counts.
    Named(TypeId),
}

/// What is known about a type before anything is built from it.
#[derive(Debug, Clone)]
struct Facts {
    /// The type behind aliases.
    target: Type,
    problem: Option<String>,
    size: Size,
}

/// How much a use of the type adds to where it is used.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    depth: u32,
    nested: u32,
    members: usize,
    /// Whether a handle is among it.
    handles: bool,
}

/// Where a named type lives.
#[derive(Debug, Clone)]
pub(super) struct Home {
    pub(super) package: Package,
    pub(super) wit_name: String,
    /// The definition that counts: of the highest version in the track.
    canonical: TypeId,
}

impl Home {
    pub(super) fn definition(&self) -> TypeId {
        self.canonical
    }
}

pub(super) struct Types<'a> {
    pub(super) resolve: &'a Resolve,
    facts: HashMap<TypeId, Facts>,
    homes: HashMap<TypeId, Home>,
    order: Vec<TypeId>,
    /// Those that the module serves.
    resources: HashSet<TypeId>,
}

impl<'a> Types<'a> {
    pub(super) fn new(resolve: &'a Resolve, homes: &Homes, resources: HashSet<TypeId>) -> Self {
        let (homes, order) = settle(resolve, homes);
        let mut types = Self { resolve, facts: HashMap::new(), homes, order, resources };
        for (id, def) in resolve.types.iter() {
            let facts = types.examine(id, def);
            types.facts.insert(id, facts);
        }
        types
    }

    pub(super) fn home(&self, id: TypeId) -> Option<&Home> {
        self.homes.get(&id)
    }

    pub(super) fn def(&self, id: TypeId) -> Option<&'a TypeDef> {
        self.resolve.types.get(id)
    }

    /// Why a function cannot be an rpc, as far as its types are concerned.
    pub(super) fn problem(&self, function: &Function) -> Option<String> {
        let size = Signature::of(function, self).and_then(|signature| {
            if self.sum(signature.streamed())?.handles {
                return Err("handles cannot stand in the messages of a stream".to_owned());
            }
            self.sum(signature.types())
        });
        size.and_then(Size::within_limits).err()
    }

    /// What a type is, with aliases looked through; none of a plain one.
    pub(super) fn kind(&self, ty: Type) -> Option<&'a TypeDefKind> {
        match self.target(ty)? {
            Type::Id(id) => self.def(id).map(|def| &def.kind),
            _ => None,
        }
    }

    /// The type with aliases looked through; none if it cannot be mapped.
    pub(super) fn ty(&self, ty: Type) -> Option<Ty<'a>> {
        let Type::Id(id) = self.target(ty)? else {
            return scalar(self.target(ty)?).map(Ty::Scalar);
        };
        Some(match &self.def(id)?.kind {
            TypeDefKind::Option(inner) => Ty::Option(*inner),
            TypeDefKind::List(inner) if self.target(*inner)? == Type::U8 => Ty::Bytes,
            TypeDefKind::List(inner) => Ty::List(*inner),
            TypeDefKind::Map(key, value) => Ty::Map(scalar(self.target(*key)?)?, *value),
            TypeDefKind::Tuple(tuple) => Ty::Tuple(&tuple.types),
            TypeDefKind::Result(result) => Ty::Result(result.ok, result.err),
            TypeDefKind::Handle(handle) => {
                let (id, owned) = match handle {
                    Handle::Own(id) => (*id, true),
                    Handle::Borrow(id) => (*id, false),
                };
                let Type::Id(resource) = self.target(Type::Id(id))? else { return None };
                Ty::Handle { resource: self.homes.get(&resource)?.canonical, owned }
            }
            _ => Ty::Named(self.homes.get(&id)?.canonical),
        })
    }

    /// Named types that functions use or served interfaces declare, in order of declaration.
    pub(super) fn live(&self, services: &[Export<'_>]) -> Vec<TypeId> {
        let served = services.iter().filter_map(|one| self.resolve.interfaces.get(one.id?));
        let declared = served
            .flat_map(|interface| interface.types.values().copied())
            .filter(|id| self.def(*id).is_some_and(is_named));
        let functions = services.iter().flat_map(|one| &one.functions);
        let signatures = functions.filter_map(|function| Signature::of(function, self).ok());
        let used = signatures.flat_map(|signature| signature.types().collect::<Vec<_>>());
        let mut open: Vec<Type> = declared.map(Type::Id).chain(used).collect();
        let mut seen = HashSet::new();
        while let Some(ty) = open.pop() {
            let Some(Type::Id(id)) = self.target(ty) else { continue };
            let id = self.homes.get(&id).map_or(id, |home| home.canonical);
            let fine = self.facts.get(&id).is_some_and(|facts| facts.problem.is_none());
            if fine && seen.insert(id) {
                open.extend(self.def(id).into_iter().flat_map(parts));
            }
        }
        self.order.iter().copied().filter(|id| seen.contains(id)).collect()
    }

    pub(super) fn target(&self, ty: Type) -> Option<Type> {
        match ty {
            Type::Id(id) => self.facts.get(&id).map(|facts| facts.target),
            plain => Some(plain),
        }
    }

    fn examine(&self, id: TypeId, def: &TypeDef) -> Facts {
        let target = match def.kind {
            TypeDefKind::Type(aliased) => self.target(aliased).unwrap_or(Type::Id(id)),
            _ => Type::Id(id),
        };
        let measured =
            self.own_problem(id, def).map_or_else(|| self.sum(parts(def).into_iter()), Err);
        let measured = measured.and_then(|inner| match def.kind {
            TypeDefKind::Type(_) | TypeDefKind::Handle(_) => Ok(inner),
            _ if is_named(def) => {
                inner.plus_level().within_limits()?;
                self.check_home(id, def)?;
                let handles = inner.handles || matches!(def.kind, TypeDefKind::Resource);
                Ok(Size { depth: inner.depth.saturating_add(1), nested: 0, members: 1, handles })
            }
            _ => Ok(inner.plus_level()),
        });
        match measured {
            Ok(size) => Facts { target, problem: None, size },
            Err(reason) => Facts { target, problem: Some(reason), size: Size::default() },
        }
    }

    /// What a type is that cannot be mapped whatever it is made of.
    fn own_problem(&self, id: TypeId, def: &TypeDef) -> Option<String> {
        let of = |what: &str| Some(format!("{what} cannot be mapped yet"));
        match &def.kind {
            TypeDefKind::Resource if !self.resources.contains(&id) => {
                let name = def.name.as_deref().unwrap_or("?");
                Some(format!("it uses the resource `{name}`, which the module does not export"))
            }
            TypeDefKind::Stream(_) => {
                let places =
                    "a stream can be a parameter or the result, not a part of another type";
                Some(places.to_owned())
            }
            TypeDefKind::Future(_) => Some("a future can only be the result".to_owned()),
            TypeDefKind::FixedLengthList(..) => of("fixed-length lists"),
            TypeDefKind::Unknown => of("unknown types"),
            TypeDefKind::Map(key, _) => match self.target(*key) {
                Some(Type::F32 | Type::F64 | Type::ErrorContext | Type::Id(_)) | None => {
                    Some("protobuf has no maps with such keys".to_owned())
                }
                Some(_) => None,
            },
            _ => None,
        }
    }

    fn sum(&self, parts: impl Iterator<Item = Type>) -> Result<Size, String> {
        let mut sum = Size::default();
        for part in parts {
            let size = match part {
                Type::ErrorContext => {
                    return Err("error contexts cannot be mapped yet".to_owned());
                }
                Type::Id(id) => match self.facts.get(&id) {
                    Some(Facts { problem: Some(problem), .. }) => return Err(problem.clone()),
                    Some(facts) => facts.size,
                    None => return Err("its types are not in order".to_owned()),
                },
                _ => Size::default(),
            };
            sum.depth = sum.depth.max(size.depth);
            sum.nested = sum.nested.max(size.nested);
            sum.handles |= size.handles;
            sum.members = sum.members.saturating_add(size.members).saturating_add(1);
        }
        Ok(sum)
    }

    /// A named type needs a package, and all definitions of it that share one must be equal.
    fn check_home(&self, id: TypeId, def: &TypeDef) -> Result<(), String> {
        let name = def.name.as_deref().unwrap_or("?");
        let Some(home) = self.homes.get(&id) else {
            return Err(format!("the type `{name}` has no package that it could belong to"));
        };
        let same = home.canonical == id
            || self.def(home.canonical).is_some_and(|canonical| self.same_def(def, canonical));
        if same {
            Ok(())
        } else {
            Err(format!("another version of the same track defines the type `{name}` otherwise"))
        }
    }

    fn same_def(&self, a: &TypeDef, b: &TypeDef) -> bool {
        let parts_same = || {
            let (a, b) = (parts(a), parts(b));
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| self.same(*a, *b))
        };
        let labels_same = match (&a.kind, &b.kind) {
            (TypeDefKind::Record(a), TypeDefKind::Record(b)) => {
                a.fields.iter().map(|f| &f.name).eq(b.fields.iter().map(|f| &f.name))
            }
            (TypeDefKind::Variant(a), TypeDefKind::Variant(b)) => {
                let cases = |of: &wit_parser::Variant| -> Vec<_> {
                    of.cases.iter().map(|c| (c.name.clone(), c.ty.is_some())).collect()
                };
                cases(a) == cases(b)
            }
            (TypeDefKind::Enum(a), TypeDefKind::Enum(b)) => {
                a.cases.iter().map(|c| &c.name).eq(b.cases.iter().map(|c| &c.name))
            }
            (TypeDefKind::Flags(a), TypeDefKind::Flags(b)) => {
                a.flags.iter().map(|f| &f.name).eq(b.flags.iter().map(|f| &f.name))
            }
            (TypeDefKind::Result(a), TypeDefKind::Result(b)) => {
                a.ok.is_some() == b.ok.is_some() && a.err.is_some() == b.err.is_some()
            }
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        };
        labels_same && parts_same()
    }

    fn same(&self, a: Type, b: Type) -> bool {
        // The canonical definition may stand later in the arena, where aliases are not known yet.
        let (a, b) = (peel(self.resolve, a), peel(self.resolve, b));
        let (Type::Id(a_id), Type::Id(b_id)) = (a, b) else { return a == b };
        if a_id == b_id {
            return true;
        }
        match (self.homes.get(&a_id), self.homes.get(&b_id), self.def(a_id), self.def(b_id)) {
            (Some(a), Some(b), ..) => a.canonical == b.canonical,
            (None, None, Some(a), Some(b)) => self.same_def(a, b),
            _ => false,
        }
    }
}

impl Size {
    fn plus_level(self) -> Self {
        Self {
            depth: self.depth.saturating_add(1),
            nested: self.nested.saturating_add(1),
            members: self.members.saturating_add(1),
            handles: self.handles,
        }
    }

    fn within_limits(self) -> Result<(), String> {
        if self.depth > MAX_DEPTH {
            Err(format!("its types nest more than {MAX_DEPTH} deep"))
        } else if self.nested > MAX_NESTED {
            Err(format!("its types nest more than {MAX_NESTED} without a name in between"))
        } else if self.members > MAX_SIZE {
            Err(format!("its types have more than {MAX_SIZE} members"))
        } else {
            Ok(())
        }
    }
}

/// Gives every named type its home, and lists the definitions that count in order of declaration.
fn settle(resolve: &Resolve, homes: &Homes) -> (HashMap<TypeId, Home>, Vec<TypeId>) {
    let mut found = Vec::new();
    for (id, def) in resolve.types.iter().filter(|(_, def)| is_named(def)) {
        let Some(wit_name) = def.name.clone() else { continue };
        let (package, version) = match def.owner {
            TypeOwner::World(_) => (homes.module.clone(), None),
            TypeOwner::Interface(owner) => match homes.interfaces.get(&owner) {
                Some(Ok(home)) => home.clone(),
                _ => continue,
            },
            TypeOwner::None => continue,
        };
        // Where the text is not known, the order of the binary has to do.
        let place = if def.span.is_known() { def.span.start() } else { u32::MAX };
        found.push((package, std::cmp::Reverse(version), place, id, wit_name));
    }
    found.sort();
    let mut canonical: HashMap<(String, String), TypeId> = HashMap::new();
    let mut settled = HashMap::new();
    let mut order = Vec::new();
    for (package, _, _, id, wit_name) in found {
        let key = (package.name.clone(), wit_name.clone());
        let counts = *canonical.entry(key).or_insert_with(|| {
            order.push(id);
            id
        });
        settled.insert(id, Home { package, wit_name, canonical: counts });
    }
    (settled, order)
}

fn is_named(def: &TypeDef) -> bool {
    matches!(
        def.kind,
        TypeDefKind::Record(_)
            | TypeDefKind::Variant(_)
            | TypeDefKind::Enum(_)
            | TypeDefKind::Flags(_)
            | TypeDefKind::Resource
    )
}

/// The types that a type is made of.
fn parts(def: &TypeDef) -> Vec<Type> {
    match &def.kind {
        TypeDefKind::Record(record) => record.fields.iter().map(|field| field.ty).collect(),
        TypeDefKind::Variant(variant) => variant.cases.iter().filter_map(|case| case.ty).collect(),
        TypeDefKind::Enum(one) => vec![Type::Bool; one.cases.len()],
        TypeDefKind::Flags(flags) => vec![Type::Bool; flags.flags.len()],
        TypeDefKind::Tuple(tuple) => tuple.types.clone(),
        TypeDefKind::Result(result) => result.ok.into_iter().chain(result.err).collect(),
        TypeDefKind::Map(key, value) => vec![*key, *value],
        TypeDefKind::Type(inner)
        | TypeDefKind::Option(inner)
        | TypeDefKind::List(inner)
        | TypeDefKind::FixedLengthList(inner, _) => vec![*inner],
        TypeDefKind::Handle(Handle::Own(resource) | Handle::Borrow(resource)) => {
            vec![Type::Id(*resource)]
        }
        TypeDefKind::Resource
        | TypeDefKind::Future(_)
        | TypeDefKind::Stream(_)
        | TypeDefKind::Unknown => Vec::new(),
    }
}

fn peel(resolve: &Resolve, mut ty: Type) -> Type {
    while let Type::Id(id) = ty
        && let Some(TypeDef { kind: TypeDefKind::Type(inner), .. }) = resolve.types.get(id)
    {
        ty = *inner;
    }
    ty
}

fn scalar(ty: Type) -> Option<Scalar> {
    Some(match ty {
        Type::Bool => Scalar::Bool,
        Type::U8 => Scalar::U8,
        Type::U16 => Scalar::U16,
        Type::U32 => Scalar::U32,
        Type::U64 => Scalar::U64,
        Type::S8 => Scalar::S8,
        Type::S16 => Scalar::S16,
        Type::S32 => Scalar::S32,
        Type::S64 => Scalar::S64,
        Type::F32 => Scalar::F32,
        Type::F64 => Scalar::F64,
        Type::Char => Scalar::Char,
        Type::String => Scalar::String,
        Type::ErrorContext | Type::Id(_) => return None,
    })
}
