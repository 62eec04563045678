//! From a component's world to protobuf: files, services and plans, by the contract of names and
//! types.
//!
//! What cannot be mapped is reported and left out; the rest of the module works. Names and numbers
//! come from the lock where it has them and are added to it where not, so deriving again changes
//! nothing.

mod build;
mod descriptor;
mod exports;
mod file;
mod interfaces;
mod ledger;
mod message;
mod method;
mod resource;
mod streams;
mod types;

use std::sync::Arc;

use prost_types::FileDescriptorProto;
use roadstead_domain::{ModuleName, Version};

pub(crate) use file::EMPTY_FILE;
pub use interfaces::{
    CallKind, FunctionShape, Interface, NamedKind, NamedType, TypeMember, TypeName, TypeRef,
};

use crate::{lock::Locks, plan::MethodPlan, world::World};

/// Why nothing could be derived from a world at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeriveError {
    #[error("the types hold more than {0} fields, cases and values together")]
    TooLarge(usize),
    #[error("`{0}` has used up the numbers that protobuf has")]
    NumbersUsedUp(String),
    #[error("the packages {} use each other's types, which protobuf forbids", .0.join(", "))]
    Cycle(Vec<String>),
    #[error("the derived schema is not valid, probably because the lock does not fit: {0}")]
    Invalid(String),
}

/// The protobuf side of one version of a module.
#[derive(Debug, Clone)]
pub struct Derived {
    /// One file a package, each after those it imports; with comments. `google/protobuf/empty.proto`
    /// is imported where needed and not among them.
    pub files: Vec<FileDescriptorProto>,
    pub services: Vec<ServicePlan>,
    /// What is callable, as the WIT says it.
    pub interfaces: Vec<Interface>,
    pub unmapped: Vec<Unmapped>,
    /// The locks given, with everything that this module adds.
    pub locks: Locks,
    /// What this version alone offers, in the form of locks: what a later version is compared with.
    pub surface: Locks,
}

/// A service that the module answers.
#[derive(Debug, Clone)]
pub struct ServicePlan {
    /// Full name.
    pub name: String,
    /// The exported interface; none for the functions of the world itself.
    pub interface: Option<String>,
    pub methods: Vec<Arc<MethodPlan>>,
}

/// An export that has no rpc, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmapped {
    /// An interface, or an interface, `#` and a function.
    pub export: String,
    pub reason: String,
}

/// Derives the protobuf side of a world. `module` and `version` name the package of what the world
/// itself exports; `locks` are those of the namespace, or as many of them as concern this world.
///
/// # Errors
/// [`DeriveError`] where the whole cannot be expressed; single functions that cannot are listed in
/// [`Derived::unmapped`].
pub fn derive(
    world: &World,
    module: &ModuleName,
    version: &Version,
    locks: &Locks,
) -> Result<Derived, DeriveError> {
    let exports::Exports { services, homes, mut unmapped } =
        exports::collect(world, module, version);
    let resources = services.iter().filter_map(|one| Some(one.resource?.id)).collect();
    let types = types::Types::new(&world.resolve, &homes, resources);
    let services = exports::mappable(services, &types, &mut unmapped);
    let live = types.live(&services);
    build::Builder::new(&types, live, locks).build(&services, unmapped)
}
