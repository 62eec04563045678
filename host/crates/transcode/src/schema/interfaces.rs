//! What a module offers as its WIT says it: interfaces with their types and functions, each with
//! the protobuf name that the contract gives it.
//!
//! Generators of bindings read it. Only what is callable is in it, and the types for that.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Serialize;
use wit_parser::{
    Docs, Function, FunctionKind, InterfaceId, Resolve, Type, TypeDef, TypeDefKind, TypeId,
    TypeOwner,
};

use super::{
    ServicePlan,
    exports::Export,
    types::{Ty, Types},
};
use crate::plan::{MethodPlan, Scalar, Shape};

/// An interface, exported or not; of the world's own types and functions, one without an id.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Interface {
    /// Like `demo:calc/ops@0.1.0`, or an inline name.
    pub id: Option<String>,
    /// Its last part, like `ops`.
    pub name: Option<String>,
    pub exported: bool,
    pub docs: Option<String>,
    pub types: Vec<NamedType>,
    pub functions: Vec<FunctionShape>,
}

/// A type that has a name in WIT and a message or an enum in protobuf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedType {
    pub name: String,
    pub kind: NamedKind,
    /// Full protobuf name.
    pub proto: String,
    pub docs: Option<String>,
    pub members: Vec<TypeMember>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NamedKind {
    Record,
    Variant,
    Enum,
    Flags,
    Resource,
}

/// A field, case or flag; or a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypeMember {
    pub name: String,
    pub docs: Option<String>,
    #[serde(rename = "type")]
    pub ty: Option<TypeRef>,
}

/// A type where it is used, with aliases looked through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TypeRef {
    Scalar(Scalar),
    List(Box<TypeRef>),
    Option(Box<TypeRef>),
    Map(Scalar, Box<TypeRef>),
    Tuple(Vec<TypeRef>),
    Result { ok: Option<Box<TypeRef>>, error: Option<Box<TypeRef>> },
    Named(TypeName),
    Own(TypeName),
    Borrow(TypeName),
    Stream(Box<TypeRef>),
    Future(Option<Box<TypeRef>>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct TypeName {
    /// The id of the interface that has it; none of the world's own.
    pub interface: Option<String>,
    pub name: String,
}

/// A function that is callable, and the rpc behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FunctionShape {
    pub name: String,
    pub kind: CallKind,
    /// The resource whose constructor, method or static function it is.
    pub resource: Option<String>,
    #[serde(rename = "async")]
    pub is_async: bool,
    pub docs: Option<String>,
    pub params: Vec<TypeMember>,
    pub result: Option<TypeRef>,
    /// Full name.
    pub service: String,
    pub method: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CallKind {
    Function,
    Constructor,
    Method,
    Static,
}

/// The types that count and what protobuf they became, and a way from a use to its definition.
pub(super) struct Survey<'a> {
    resolve: &'a Resolve,
    types: &'a Types<'a>,
    /// Ids of the interfaces that are exported by another name than their own.
    inline: BTreeMap<InterfaceId, String>,
}

impl<'a> Survey<'a> {
    pub(super) fn new(types: &'a Types<'a>, services: &[Export<'_>]) -> Self {
        let named = services.iter().filter_map(|one| Some((one.id?, one.interface.clone()?)));
        Self { resolve: types.resolve, types, inline: named.collect() }
    }

    /// The interfaces of the services and of their types: those first that are used by others.
    pub(super) fn interfaces<'s>(
        &self,
        live: impl Iterator<Item = (TypeId, &'s Shape)>,
        services: impl Iterator<Item = (&'s Export<'s>, &'s ServicePlan)>,
    ) -> Vec<Interface> {
        let mut found = Found::new();
        for (id, shape) in live {
            let Some(def) = self.resolve.types.get(id) else { continue };
            let (interface, docs) = self.owner(def);
            if let Some(ty) = self.named_type(def, shape) {
                entry(&mut found, interface, docs).types.push(ty);
            }
        }
        for (export, plan) in services {
            let docs = match export.resource {
                Some(_) => None,
                None => export.docs.map(str::to_owned),
            };
            let interface = entry(&mut found, export.interface.clone(), docs);
            interface.exported = true;
            let resource = export.resource.map(|one| one.wit_name);
            for (function, method) in export.functions.iter().zip(&plan.methods) {
                interface.functions.push(self.function(function, resource, method));
            }
        }
        found.into_values().collect()
    }

    fn function(
        &self,
        function: &Function,
        resource: Option<&str>,
        method: &MethodPlan,
    ) -> FunctionShape {
        let (kind, is_async) = match function.kind {
            FunctionKind::Freestanding => (CallKind::Function, false),
            FunctionKind::AsyncFreestanding => (CallKind::Function, true),
            FunctionKind::Method(_) => (CallKind::Method, false),
            FunctionKind::AsyncMethod(_) => (CallKind::Method, true),
            FunctionKind::Static(_) => (CallKind::Static, false),
            FunctionKind::AsyncStatic(_) => (CallKind::Static, true),
            FunctionKind::Constructor(_) => (CallKind::Constructor, false),
        };
        // The name of a resource's function is `[method]crane.lift`.
        let name = function.name.rsplit_once(['.', ']']).map_or(&*function.name, |(_, name)| name);
        let params = function.params.iter().map(|param| TypeMember {
            name: param.name.clone(),
            docs: None,
            ty: self.type_ref(param.ty),
        });
        FunctionShape {
            name: name.to_owned(),
            kind,
            resource: resource.map(str::to_owned),
            is_async,
            docs: text(&function.docs),
            params: params.collect(),
            result: function.result.and_then(|ty| self.type_ref(ty)),
            service: method.service.clone(),
            method: method.method.clone(),
        }
    }

    fn named_type(&self, def: &TypeDef, shape: &Shape) -> Option<NamedType> {
        let member = |name: &str, docs: &Docs, ty: Option<Type>| TypeMember {
            name: name.to_owned(),
            docs: text(docs),
            ty: ty.and_then(|ty| self.type_ref(ty)),
        };
        let (kind, members) = match &def.kind {
            TypeDefKind::Record(one) => {
                let fields = one.fields.iter().map(|f| member(&f.name, &f.docs, Some(f.ty)));
                (NamedKind::Record, fields.collect())
            }
            TypeDefKind::Variant(one) => {
                let cases = one.cases.iter().map(|c| member(&c.name, &c.docs, c.ty));
                (NamedKind::Variant, cases.collect())
            }
            TypeDefKind::Enum(one) => {
                let cases = one.cases.iter().map(|c| member(&c.name, &c.docs, None));
                (NamedKind::Enum, cases.collect())
            }
            TypeDefKind::Flags(one) => {
                let flags = one.flags.iter().map(|f| member(&f.name, &f.docs, None));
                (NamedKind::Flags, flags.collect())
            }
            TypeDefKind::Resource => (NamedKind::Resource, Vec::new()),
            _ => return None,
        };
        let proto = match shape {
            Shape::Message(plan) => plan.name.clone(),
            Shape::Enum(plan) => plan.name.clone(),
            Shape::Scalar(_) | Shape::Bytes => return None,
        };
        Some(NamedType { name: def.name.clone()?, kind, proto, docs: text(&def.docs), members })
    }

    fn type_ref(&self, ty: Type) -> Option<TypeRef> {
        let boxed = |ty: Type| self.type_ref(ty).map(Box::new);
        match self.types.kind(ty) {
            Some(TypeDefKind::Stream(item)) => return Some(TypeRef::Stream(boxed((*item)?)?)),
            Some(TypeDefKind::Future(value)) => {
                return Some(TypeRef::Future(value.and_then(boxed)));
            }
            _ => {}
        }
        Some(match self.types.ty(ty)? {
            Ty::Scalar(scalar) => TypeRef::Scalar(scalar),
            Ty::Bytes => TypeRef::List(Box::new(TypeRef::Scalar(Scalar::U8))),
            Ty::Option(inner) => TypeRef::Option(boxed(inner)?),
            Ty::List(inner) => TypeRef::List(boxed(inner)?),
            Ty::Map(key, value) => TypeRef::Map(key, boxed(value)?),
            Ty::Tuple(types) => {
                TypeRef::Tuple(types.iter().filter_map(|ty| self.type_ref(*ty)).collect())
            }
            Ty::Result(ok, error) => {
                TypeRef::Result { ok: ok.and_then(boxed), error: error.and_then(boxed) }
            }
            Ty::Handle { resource, owned: true } => TypeRef::Own(self.name(resource)?),
            Ty::Handle { resource, owned: false } => TypeRef::Borrow(self.name(resource)?),
            Ty::Named(id) => TypeRef::Named(self.name(id)?),
        })
    }

    fn name(&self, id: TypeId) -> Option<TypeName> {
        let def = self.resolve.types.get(id)?;
        let (interface, _) = self.owner(def);
        Some(TypeName { interface, name: def.name.clone()? })
    }

    fn owner(&self, def: &TypeDef) -> (Option<String>, Option<String>) {
        let TypeOwner::Interface(id) = def.owner else { return (None, None) };
        let docs = self.resolve.interfaces.get(id).and_then(|one| text(&one.docs));
        let inline = self.inline.get(&id).cloned();
        (inline.or_else(|| self.resolve.id_of(id)), docs)
    }
}

/// By id, in the order of their first mention.
type Found = IndexMap<Option<String>, Interface>;

fn entry(found: &mut Found, id: Option<String>, docs: Option<String>) -> &mut Interface {
    let name = id.as_deref().map(last_part);
    let interface =
        found.entry(id.clone()).or_insert_with(|| Interface { id, name, ..Interface::default() });
    interface.docs = interface.docs.take().or(docs);
    interface
}

/// `demo:calc/ops@0.1.0` → `ops`.
fn last_part(id: &str) -> String {
    let name = id.rsplit_once('/').map_or(id, |(_, name)| name);
    name.split_once('@').map_or(name, |(name, _)| name).to_owned()
}

fn text(docs: &Docs) -> Option<String> {
    docs.contents.clone()
}
