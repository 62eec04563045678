//! Interfaces that a component imports and another module serves: what is expected of that module.
//!
//! Both sides are compared as their WIT says it, so that values mean the same on either side; the
//! names and numbers on the wire between them are then those of the module that serves.

mod compare;

use roadstead_domain::{ModuleName, Version};

pub use compare::Misfit;

use crate::{
    CallKind, DeriveError, FunctionShape, Interface, Locks, NamedKind, TypeRef, derive,
    world::World,
};

/// An interface as one component imports it: the functions that it calls, and their types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    id: String,
    /// The interface itself and those whose types it uses.
    interfaces: Vec<Interface>,
}

/// Why no module could serve an import.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unbindable {
    #[error("the component does not import it")]
    NotImported,
    #[error("{what} cannot go through a binding: leave `{function}` out of the WIT of the import")]
    Function { what: &'static str, function: String },
    #[error("`{function}` cannot go through a binding: {reason}")]
    Unmapped { function: String, reason: String },
    #[error("resources cannot go through a binding: leave `{0}` out of the WIT of the import")]
    Resource(String),
    #[error(transparent)]
    Derive(#[from] DeriveError),
}

/// The rpc that serves an imported function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    pub function: String,
    /// Full name.
    pub service: String,
    pub method: String,
}

impl Import {
    /// Reads what a module's component imports under an interface's name.
    ///
    /// # Errors
    /// [`Unbindable`] names the function or resource that no module could serve.
    pub fn of(world: &World, id: &str, module: &ModuleName) -> Result<Self, Unbindable> {
        let offering = world.offering(id).ok_or(Unbindable::NotImported)?;
        // Names and numbers are the other side's: those that are given out here do not count.
        let derived = derive(&offering, module, &Version::first(), &Locks::default())?;
        let import = Self { id: id.to_owned(), interfaces: derived.interfaces };
        for interface in &import.interfaces {
            let resource = interface.types.iter().find(|ty| ty.kind == NamedKind::Resource);
            if let Some(resource) = resource {
                return Err(Unbindable::Resource(resource.name.clone()));
            }
        }
        if let Some(one) = derived.unmapped.into_iter().next() {
            return Err(Unbindable::Unmapped { function: one.export, reason: one.reason });
        }
        import.functions().try_for_each(bindable)?;
        Ok(import)
    }

    /// The interface's name, as the component has it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The functions that the component calls.
    pub fn functions(&self) -> impl Iterator<Item = &FunctionShape> {
        let exported = self.interfaces.iter().filter(|interface| interface.exported);
        exported.flat_map(|interface| &interface.functions)
    }

    /// Whether another import stands for the same functions and types.
    pub fn is_as(&self, other: &Self) -> bool {
        let mut compare = compare::Compare::new(&self.interfaces, &other.interfaces);
        self.functions().map(|one| &one.name).eq(other.functions().map(|other| &other.name))
            && self.functions().zip(other.functions()).all(|(a, b)| compare.function(a, b).is_ok())
    }

    /// The service that stands for the interface among those that a module exports in the same
    /// track; by its full name.
    pub fn service_in<'a>(&self, exported: &'a [Interface]) -> Option<&'a str> {
        let theirs = exported.iter().find(|interface| self.is_home(interface))?;
        let mut functions = theirs.functions.iter();
        Some(&functions.find(|function| function.resource.is_none())?.service)
    }

    fn is_home(&self, interface: &Interface) -> bool {
        let id = interface.id.as_deref();
        interface.exported && id.is_some_and(|id| compare::same_track(id, &self.id))
    }

    /// The rpcs that serve the functions, of the interface that a module exports in the same track.
    /// It may export more functions than are called.
    ///
    /// # Errors
    /// [`Misfit`]: the first thing that differs.
    pub fn served_by(&self, exported: &[Interface]) -> Result<Vec<Served>, Misfit> {
        let theirs = exported.iter().find(|interface| self.is_home(interface));
        let theirs = theirs.ok_or_else(|| Misfit::NoInterface(self.id.clone()))?;
        let mut compare = compare::Compare::new(&self.interfaces, exported);
        let serve = |function: &FunctionShape| {
            let same = |one: &&FunctionShape| one.name == function.name && one.resource.is_none();
            let other = theirs.functions.iter().find(same);
            let other = other.ok_or_else(|| Misfit::NoFunction(function.name.clone()))?;
            compare.function(function, other)?;
            Ok(Served {
                function: function.name.clone(),
                service: other.service.clone(),
                method: other.method.clone(),
            })
        };
        self.functions().map(serve).collect()
    }
}

fn bindable(function: &FunctionShape) -> Result<(), Unbindable> {
    let refuse = |what| Err(Unbindable::Function { what, function: function.name.clone() });
    let types = function.params.iter().filter_map(|param| param.ty.as_ref());
    for ty in types.chain(&function.result) {
        if let Some(what) = waits(ty) {
            return refuse(what);
        }
    }
    if function.is_async {
        return refuse("async functions");
    }
    if function.kind != CallKind::Function {
        return refuse("resources");
    }
    Ok(())
}

/// What in a type is more than a value.
fn waits(ty: &TypeRef) -> Option<&'static str> {
    match ty {
        TypeRef::Stream(_) => Some("streams"),
        TypeRef::Future(_) => Some("futures"),
        TypeRef::Own(_) | TypeRef::Borrow(_) => Some("resources"),
        TypeRef::Scalar(_) | TypeRef::Named(_) => None,
        TypeRef::List(inner) | TypeRef::Option(inner) | TypeRef::Map(_, inner) => waits(inner),
        TypeRef::Tuple(types) => types.iter().find_map(waits),
        TypeRef::Result { ok, error } => [ok, error].into_iter().flatten().find_map(|ty| waits(ty)),
    }
}
