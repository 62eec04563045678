//! Reading WIT text, and taking comments from it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

use indexmap::IndexMap;
use wit_parser::{
    Docs, Function, InterfaceId, PackageId, Resolve, SourceMap, TypeDef, TypeDefKind, TypeId,
    UnresolvedPackageGroup, World as WitWorld, WorldId, WorldItem, WorldKey,
};

use super::{World, WorldError};

/// Far more than the WIT of any real package.
const MAX_TEXT: usize = 4 << 20;
/// Packages, interfaces and worlds. All of WASI has about a hundred.
const MAX_DECLARED: usize = 1000;

/// Parses a package and its dependencies.
pub(super) fn parse(files: &[(String, String)]) -> Result<(Resolve, PackageId), WorldError> {
    let size = files.iter().map(|(_, text)| text.len()).sum::<usize>();
    if size > MAX_TEXT {
        return Err(WorldError::Text(format!("it has {size} bytes, more than {MAX_TEXT}")));
    }
    let mut groups: BTreeMap<String, SourceMap> = BTreeMap::new();
    for (path, text) in files.iter().filter(|(path, _)| path.ends_with(".wit")) {
        groups.entry(group_of(path)).or_default().push_str(path, text.clone());
    }
    let main = groups
        .remove("")
        .ok_or_else(|| WorldError::Text("there is no .wit file outside of deps/".to_owned()))?;
    let read = || {
        let main = parse_group(main)?;
        let deps = groups.into_values().map(parse_group).collect::<Result<Vec<_>, _>>()?;
        let declared = std::iter::once(&main).chain(&deps).map(declared).sum::<usize>();
        if declared > MAX_DECLARED {
            return Err(format!(
                "it declares {declared} packages, interfaces and worlds, more than {MAX_DECLARED}"
            ));
        }
        let mut resolve = Resolve::default();
        match resolve.push_groups(main, deps) {
            Ok(package) => Ok((resolve, package)),
            Err(error) => Err(error.render(&resolve.source_map)),
        }
    };
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err("the parser gave up on it".to_owned()))
        .map_err(WorldError::Text)
}

/// `deps/shapes/a.wit` and `deps/shapes/b.wit` are one package, `deps/shapes.wit` is another.
fn group_of(path: &str) -> String {
    let path = path.trim_start_matches("./");
    match path.strip_prefix("deps/") {
        Some(dep) => dep.split('/').next().unwrap_or(dep).to_owned(),
        None => String::new(),
    }
}

/// Packages, interfaces and worlds: the resolver recurses from one to the next.
fn declared(group: &UnresolvedPackageGroup) -> usize {
    std::iter::once(&group.main)
        .chain(&group.nested)
        .map(|package| 1 + package.interfaces.len() + package.worlds.len())
        .sum()
}

fn parse_group(sources: SourceMap) -> Result<UnresolvedPackageGroup, String> {
    sources.parse().map_err(|(sources, error)| error.render(&sources))
}

/// The world of that name; without a name the only one, or all interfaces where there is none.
pub(super) fn select(
    resolve: &mut Resolve,
    package: PackageId,
    world: Option<&str>,
) -> Result<WorldId, WorldError> {
    let found = resolve.packages.get(package);
    match found {
        Some(found) if world.is_none() && found.worlds.is_empty() => {
            let interfaces: Vec<_> = found.interfaces.values().copied().collect();
            Ok(world_of_all(resolve, package, interfaces))
        }
        _ => resolve
            .select_world(&[package], world)
            .map_err(|error| WorldError::Text(format!("{error:#}"))),
    }
}

fn world_of_all(
    resolve: &mut Resolve,
    package: PackageId,
    interfaces: Vec<InterfaceId>,
) -> WorldId {
    let exports = interfaces.into_iter().map(|id| {
        let item = WorldItem::Interface {
            id,
            stability: Default::default(),
            external_id: None,
            docs: Docs::default(),
            span: Default::default(),
        };
        (WorldKey::Interface(id), item)
    });
    let world = WitWorld {
        name: "all-interfaces".to_owned(),
        imports: IndexMap::default(),
        exports: exports.collect(),
        package: Some(package),
        docs: Docs::default(),
        stability: Default::default(),
        includes: Vec::new(),
        span: Default::default(),
    };
    resolve.worlds.alloc(world)
}

/// Copies comments and the order of declarations to everything that `text` declares too.
pub(super) fn graft(world: &mut World, text: &Resolve) {
    let sources: HashMap<String, InterfaceId> =
        text.interfaces.iter().filter_map(|(id, _)| Some((text.id_of(id)?, id))).collect();
    let targets: Vec<InterfaceId> = world.resolve.interfaces.iter().map(|(id, _)| id).collect();
    for id in targets {
        if let Some(source) = world.resolve.id_of(id).and_then(|name| sources.get(&name)) {
            graft_interface(&mut world.resolve, id, text, *source);
        }
    }
    graft_world(world, text);
}

fn graft_interface(resolve: &mut Resolve, id: InterfaceId, text: &Resolve, source: InterfaceId) {
    let (Some(target), Some(source)) =
        (resolve.interfaces.get_mut(id), text.interfaces.get(source))
    else {
        return;
    };
    target.docs = source.docs.clone();
    target
        .functions
        .sort_by_cached_key(|name, _| source.functions.get_index_of(name).unwrap_or(usize::MAX));
    graft_functions(target.functions.values_mut(), |name| source.functions.get(name));
    let types: Vec<(TypeId, TypeId)> = target
        .types
        .iter()
        .filter_map(|(name, id)| Some((*id, *source.types.get(name)?)))
        .collect();
    for (target, source) in types {
        graft_type(resolve, target, text, source);
    }
}

fn graft_functions<'a>(
    targets: impl Iterator<Item = &'a mut Function>,
    source: impl Fn(&str) -> Option<&'a Function>,
) {
    for target in targets {
        if let Some(source) = source(&target.name) {
            target.docs = source.docs.clone();
        }
    }
}

fn graft_type(resolve: &mut Resolve, target: TypeId, text: &Resolve, source: TypeId) {
    let (Some(target), Some(source)) = (resolve.types.get_mut(target), text.types.get(source))
    else {
        return;
    };
    target.docs = source.docs.clone();
    target.span = source.span;
    let docs: HashMap<&str, &Docs> = members(source).into_iter().collect();
    for (name, target) in members_mut(target) {
        if let Some(docs) = docs.get(name) {
            *target = (*docs).clone();
        }
    }
}

fn members(of: &TypeDef) -> Vec<(&str, &Docs)> {
    match &of.kind {
        TypeDefKind::Record(one) => one.fields.iter().map(|f| (&*f.name, &f.docs)).collect(),
        TypeDefKind::Variant(one) => one.cases.iter().map(|c| (&*c.name, &c.docs)).collect(),
        TypeDefKind::Enum(one) => one.cases.iter().map(|c| (&*c.name, &c.docs)).collect(),
        TypeDefKind::Flags(one) => one.flags.iter().map(|f| (&*f.name, &f.docs)).collect(),
        _ => Vec::new(),
    }
}

fn members_mut(of: &mut TypeDef) -> Vec<(&str, &mut Docs)> {
    match &mut of.kind {
        TypeDefKind::Record(one) => {
            one.fields.iter_mut().map(|f| (&*f.name, &mut f.docs)).collect()
        }
        TypeDefKind::Variant(one) => {
            one.cases.iter_mut().map(|c| (&*c.name, &mut c.docs)).collect()
        }
        TypeDefKind::Enum(one) => one.cases.iter_mut().map(|c| (&*c.name, &mut c.docs)).collect(),
        TypeDefKind::Flags(one) => one.flags.iter_mut().map(|f| (&*f.name, &mut f.docs)).collect(),
        _ => Vec::new(),
    }
}

/// Leaves out the exports by a plain name that no world of the text has, if the text is about them:
/// if it has any of the world's exports.
pub(super) fn keep_declared(world: &mut World, text: &Resolve) {
    let names: HashSet<String> = text
        .worlds
        .iter()
        .flat_map(|(_, one)| one.exports.keys().map(|key| text.name_world_key(key)))
        .collect();
    let Some(target) = world.resolve.worlds.get(world.world) else { return };
    let mut keys = target.exports.keys();
    if !keys.any(|key| names.contains(&world.resolve.name_world_key(key))) {
        return;
    }
    let Some(target) = world.resolve.worlds.get_mut(world.world) else { return };
    let undeclared = &mut world.undeclared;
    target.exports.retain(|key, _| match key {
        WorldKey::Name(name) if !names.contains(name) => {
            undeclared.push(name.clone());
            false
        }
        _ => true,
    });
}

/// A binary does not say which world of the text it was built for: the one that shares most of its
/// exports is taken.
fn graft_world(world: &mut World, text: &Resolve) {
    let Some(target) = world.resolve.worlds.get(world.world) else { return };
    let names: Vec<String> =
        target.exports.keys().map(|key| world.resolve.name_world_key(key)).collect();
    let shared = |candidate: &WitWorld| {
        let known = candidate.exports.keys().map(|key| text.name_world_key(key));
        known.filter(|name| names.contains(name)).count()
    };
    let best = text.worlds.iter().map(|(_, one)| one).max_by_key(|one| shared(one));
    let Some(source) = best.filter(|one| shared(one) > 0) else { return };
    let mut interfaces = Vec::new();
    let mut types = Vec::new();
    if let Some(target) = world.resolve.worlds.get_mut(world.world) {
        target.docs = source.docs.clone();
        target.exports.sort_by_cached_key(|key, _| match key {
            WorldKey::Name(_) => source.exports.get_index_of(key).unwrap_or(usize::MAX),
            WorldKey::Interface(_) => 0,
        });
        let both = target.exports.iter_mut().chain(target.imports.iter_mut());
        for (key, item) in both.filter(|(key, _)| matches!(key, WorldKey::Name(_))) {
            let known = source.exports.get(key).or_else(|| source.imports.get(key));
            match (item, known) {
                (WorldItem::Function(to), Some(WorldItem::Function(from))) => {
                    to.docs = from.docs.clone();
                }
                (WorldItem::Type { id: to, .. }, Some(WorldItem::Type { id: from, .. })) => {
                    types.push((*to, *from));
                }
                (
                    WorldItem::Interface { id: to, .. },
                    Some(WorldItem::Interface { id: from, docs, .. }),
                ) => interfaces.push((*to, *from, docs.clone())),
                _ => {}
            }
        }
    }
    for (to, from) in types {
        graft_type(&mut world.resolve, to, text, from);
    }
    for (to, from, docs) in interfaces {
        graft_interface(&mut world.resolve, to, text, from);
        if let Some(target) = world.resolve.interfaces.get_mut(to)
            && target.docs.is_empty()
        {
            target.docs = docs;
        }
    }
}
