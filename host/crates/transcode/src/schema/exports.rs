//! What a world exports: the services to be, and where the types of every interface live.

use std::collections::{BTreeMap, HashMap};

use roadstead_domain::{ModuleName, Version};
use wit_parser::{
    Function, FunctionKind, Interface, InterfaceId, Resolve, TypeDefKind, TypeId, WorldItem,
    WorldKey,
};

use super::{Unmapped, types::Types};
use crate::{names, world::World};

/// Namespaces of WIT packages that would land in protobuf packages of others.
const RESERVED: [&str; 3] = ["roadstead", "google", "grpc"];

/// A protobuf package and its one file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) file: String,
}

/// One exported interface, a resource of one, or the world itself, that becomes a service.
pub(super) struct Export<'a> {
    pub(super) package: Package,
    pub(super) wit_name: String,
    /// As the component exports it; none for the world itself.
    pub(super) interface: Option<String>,
    pub(super) id: Option<InterfaceId>,
    /// None for what is freestanding.
    pub(super) resource: Option<Resource<'a>>,
    pub(super) docs: Option<&'a str>,
    pub(super) functions: Vec<&'a Function>,
}

/// An exported resource.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resource<'a> {
    pub(super) id: TypeId,
    pub(super) wit_name: &'a str,
}

/// Where named types live.
pub(super) struct Homes {
    /// The package of every interface, with the version that decides which of several definitions
    /// counts; or why there is none.
    pub(super) interfaces: HashMap<InterfaceId, Result<(Package, Option<semver::Version>), String>>,
    /// The package of the world's own types.
    pub(super) module: Package,
}

pub(super) struct Exports<'a> {
    pub(super) services: Vec<Export<'a>>,
    pub(super) homes: Homes,
    pub(super) unmapped: Vec<Unmapped>,
}

/// Everything that could be a service, and everything that for its name cannot.
pub(super) fn collect<'a>(world: &'a World, module: &ModuleName, version: &Version) -> Exports<'a> {
    let resolve = &world.resolve;
    let homes = homes(world, &module_package(module, version));
    let mut own = Export {
        package: homes.module.clone(),
        wit_name: "module".to_owned(),
        interface: None,
        id: None,
        resource: None,
        docs: None,
        functions: Vec::new(),
    };
    let mut found = Exports { services: Vec::new(), homes, unmapped: Vec::new() };
    for export in &world.undeclared {
        let reason = "the WIT text in the component does not declare it".to_owned();
        found.unmapped.push(Unmapped { export: export.clone(), reason });
    }
    let Some(wit_world) = resolve.worlds.get(world.world) else { return found };
    own.docs = wit_world.docs.contents.as_deref();
    for (key, item) in &wit_world.exports {
        match item {
            WorldItem::Function(function) => own.functions.push(function),
            WorldItem::Interface { id, .. } => found.add_interface(resolve, key, *id),
            WorldItem::Type { .. } => {}
        }
    }
    if !own.functions.is_empty() {
        found.services.push(own);
    }
    found.keep_highest_of_track();
    found
}

impl<'a> Exports<'a> {
    fn add_interface(&mut self, resolve: &'a Resolve, key: &WorldKey, id: InterfaceId) {
        let Some(interface) = resolve.interfaces.get(id) else { return };
        let export = resolve.name_world_key(key);
        let (wit_name, package) = match key {
            WorldKey::Name(name) => (name.clone(), Ok(inline_package(&self.homes.module, name))),
            WorldKey::Interface(_) => {
                let package = match self.homes.interfaces.get(&id) {
                    Some(Ok((package, _))) => Ok(package.clone()),
                    Some(Err(reason)) => Err(reason.clone()),
                    None => Err("it has no package".to_owned()),
                };
                (interface.name.clone().unwrap_or_default(), package)
            }
        };
        let package = match package {
            Ok(package) => package,
            Err(reason) => return self.unmapped.push(Unmapped { export, reason }),
        };
        let functions_of = |resource: Option<TypeId>| {
            let functions = interface.functions.values();
            functions.filter(|function| function.kind.resource() == resource).collect()
        };
        let service = |resource: Option<Resource<'a>>, docs: &'a wit_parser::Docs| Export {
            package: package.clone(),
            wit_name: wit_name.clone(),
            interface: Some(export.clone()),
            id: Some(id),
            resource,
            docs: docs.contents.as_deref(),
            functions: functions_of(resource.map(|resource| resource.id)),
        };
        self.services.push(service(None, &interface.docs));
        for (wit_name, id) in &interface.types {
            let Some(def) = resolve.types.get(*id) else { continue };
            if matches!(def.kind, TypeDefKind::Resource) {
                self.services.push(service(Some(Resource { id: *id, wit_name }), &def.docs));
            }
        }
    }

    /// Of several versions of an interface in one track the highest is served.
    fn keep_highest_of_track(&mut self) {
        let version = |export: &Export<'_>| match self.homes.interfaces.get(&export.id?) {
            Some(Ok((_, version))) => version.clone(),
            _ => None,
        };
        let mut highest: BTreeMap<Package, (Option<semver::Version>, String)> = BTreeMap::new();
        for export in &self.services {
            let one = (version(export), export.interface.clone().unwrap_or_default());
            let best = highest.entry(export.package.clone()).or_insert_with(|| one.clone());
            if one > *best {
                *best = one;
            }
        }
        let unmapped = &mut self.unmapped;
        self.services.retain(|export| {
            let name = export.interface.clone().unwrap_or_default();
            match highest.get(&export.package) {
                Some((_, served)) if *served != name => {
                    let reason = format!("`{served}` is served, of the same track");
                    unmapped.push(Unmapped { export: name, reason });
                    false
                }
                _ => true,
            }
        });
    }
}

/// Keeps the functions that can be rpcs, and of the services those that have any.
pub(super) fn mappable<'a>(
    services: Vec<Export<'a>>,
    types: &Types<'_>,
    unmapped: &mut Vec<Unmapped>,
) -> Vec<Export<'a>> {
    let mut kept = Vec::new();
    for mut service in services {
        let interface = service.interface.clone();
        service.functions.retain(|function| match problem(function, types) {
            None => true,
            Some(reason) => {
                let name = plain_name(&function.name);
                let export = match &interface {
                    Some(interface) => format!("{interface}#{name}"),
                    None => name.to_owned(),
                };
                unmapped.push(Unmapped { export, reason });
                false
            }
        });
        kept.push(service);
    }
    kept
}

/// `[method]crane.lift` → `crane.lift`.
fn plain_name(function: &str) -> &str {
    function.split_once(']').map_or(function, |(_, name)| name)
}

fn problem(function: &Function, types: &Types<'_>) -> Option<String> {
    match function.kind {
        FunctionKind::Freestanding
        | FunctionKind::AsyncFreestanding
        | FunctionKind::Method(_)
        | FunctionKind::AsyncMethod(_)
        | FunctionKind::Static(_)
        | FunctionKind::AsyncStatic(_)
        | FunctionKind::Constructor(_) => types.problem(function),
    }
}

fn homes(world: &World, module: &Package) -> Homes {
    let resolve = &world.resolve;
    let mut interfaces = HashMap::new();
    for (id, interface) in resolve.interfaces.iter() {
        interfaces.insert(id, package_of(resolve, interface));
    }
    let exports = resolve.worlds.get(world.world).map(|world| &world.exports);
    for (key, item) in exports.into_iter().flatten() {
        if let (WorldKey::Name(name), WorldItem::Interface { id, .. }) = (key, item)
            && resolve.interfaces.get(*id).is_some_and(|interface| interface.name.is_none())
        {
            interfaces.insert(*id, Ok((inline_package(module, name), None)));
        }
    }
    Homes { interfaces, module: module.clone() }
}

fn package_of(
    resolve: &Resolve,
    interface: &Interface,
) -> Result<(Package, Option<semver::Version>), String> {
    let package = interface.package.and_then(|id| resolve.packages.get(id));
    let (Some(name), Some(package)) = (&interface.name, package) else {
        return Err("it belongs to an interface that is imported without a name".to_owned());
    };
    let package = &package.name;
    if RESERVED.contains(&package.namespace.to_ascii_lowercase().as_str()) {
        return Err(format!("the namespace `{}` is reserved", package.namespace));
    }
    let track = package.version.as_ref().map(|version| Version::from(version).track());
    let interface = segment(name);
    let mut segments = vec![segment(&package.namespace), segment(&package.name), interface.clone()];
    segments.extend(track.map(|track| track.as_str().to_owned()));
    Ok((of_segments(&segments, &interface), package.version.clone()))
}

fn module_package(module: &ModuleName, version: &Version) -> Package {
    let segments = [
        "roadstead".to_owned(),
        "module".to_owned(),
        names::module_segment(module.as_str()),
        version.track().as_str().to_owned(),
    ];
    of_segments(&segments, "module")
}

fn inline_package(module: &Package, name: &str) -> Package {
    let name = segment(name);
    let mut segments: Vec<_> = module.name.split('.').map(str::to_owned).collect();
    segments.push(name.clone());
    of_segments(&segments, &name)
}

fn of_segments(segments: &[String], file: &str) -> Package {
    Package { name: segments.join("."), file: format!("{}/{file}.proto", segments.join("/")) }
}

/// A kebab name as a segment of a package.
fn segment(name: &str) -> String {
    names::snake(name).replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "_")
}
