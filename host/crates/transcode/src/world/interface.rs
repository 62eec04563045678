//! Writing what a component exports as WIT text, and of what it imports no more than is asked for.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use wit_component::WitPrinter;
use wit_parser::{InterfaceId, PackageId, Resolve, Type, TypeDefKind, TypeOwner, WorldItem};

use super::{World, WorldError};

pub(super) fn print(world: &World, keeps: &dyn Fn(&str) -> bool) -> Result<String, WorldError> {
    let lost = || WorldError::Text("the world has no package".to_owned());
    let mut resolve = world.resolve.clone();
    let target = resolve.worlds.get_mut(world.world).ok_or_else(lost)?;
    // Interfaces whose types are exported come back as imports when the text is read.
    target.imports.retain(|key, item| {
        matches!(item, WorldItem::Type { .. }) || keeps(&world.resolve.name_world_key(key))
    });
    let main = target.package.ok_or_else(lost)?;
    let others: Vec<PackageId> =
        packages(&resolve, world, main).into_iter().filter(|package| *package != main).collect();
    let printed = || {
        let mut printer = WitPrinter::default();
        printer.print(&resolve, main, &others).map(|()| printer.output.to_string())
    };
    match catch_unwind(AssertUnwindSafe(printed)) {
        Ok(text) => text.map_err(|error| WorldError::Text(format!("{error:#}"))),
        Err(_) => Err(WorldError::Text("it holds something that WIT cannot express".to_owned())),
    }
}

/// The packages that the world's exports need, each with all its interfaces.
fn packages(resolve: &Resolve, world: &World, main: PackageId) -> BTreeSet<PackageId> {
    let mut found = BTreeSet::from([main]);
    let mut open: Vec<InterfaceId> = Vec::new();
    let mut seen: BTreeSet<InterfaceId> = BTreeSet::new();
    if let Some(world) = resolve.worlds.get(world.world) {
        for item in world.exports.values().chain(world.imports.values()) {
            match item {
                WorldItem::Interface { id, .. } => open.push(*id),
                WorldItem::Type { id, .. } => {
                    let kind = resolve.types.get(*id).map(|found| &found.kind);
                    if let Some(TypeDefKind::Type(Type::Id(original))) = kind
                        && let Some(TypeOwner::Interface(owner)) =
                            resolve.types.get(*original).map(|found| found.owner)
                    {
                        open.push(owner);
                    }
                }
                WorldItem::Function(_) => {}
            }
        }
    }
    let of_main = resolve.packages.get(main).into_iter();
    open.extend(of_main.flat_map(|package| package.interfaces.values().copied()));
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        open.extend(resolve.interface_direct_deps(id));
        let package = resolve.interfaces.get(id).and_then(|found| found.package);
        if let Some(package) = package
            && found.insert(package)
        {
            let inside = resolve.packages.get(package).into_iter();
            open.extend(inside.flat_map(|package| package.interfaces.values().copied()));
        }
    }
    found
}
