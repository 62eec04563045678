//! What a push would break for callers with old stubs of the same track.
//!
//! Callers hold the stubs of what the module served before, so a type or function is compared with
//! the one that the module itself had; what is new to the module is compared with the lock, whose
//! word others in the namespace already have. From there:
//!
//! * Removed functions, fields, cases and values break, judged against what the module had alone:
//!   the lock also knows those of other modules. A service that is gone altogether does not break
//!   anybody, for the version that has it goes on serving it.
//! * What a change of type does depends on who sends it. To accept more (`u8` → `u32`, `u32` →
//!   `u64`, `char` → `string`, a required message made optional) is fine where only callers send
//!   the type; to answer with less is fine where only the module does. Where the protobuf type
//!   stays as it is, more in an answer is fine too. Everything else breaks.
//! * A new field that must be set (a message, enum or `char`, but not flags) breaks if callers with old
//!   stubs could send the message around it; a new case or value breaks if they could receive it.

mod reach;
mod slots;

use std::collections::{HashMap, HashSet};

use reach::{Directions, Reach};

use crate::{
    Derived, Scalar,
    lock::{Item, Lock, Locks, Member, Slot, TypeKind, TypeLock, UNSPECIFIED},
};

/// One thing that callers with old stubs would stumble over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Break {
    /// A field or value by its full protobuf name, or a method as `package.Service/Method`.
    pub subject: String,
    pub description: String,
}

/// The breaks of a new version, in order of their subjects.
///
/// `locks` are those of the namespace before the push. `previous` holds, package by package, the
/// [`Derived::surface`] of the version of the same module that serves the package so far; it is
/// empty for a new module.
pub fn compare(locks: &Locks, previous: &Locks, new: &Derived) -> Vec<Break> {
    let baseline = overlaid(locks, previous);
    let reach = Reach::of(&baseline, &new.surface);
    let flags = flags(&new.surface);
    let mut found = Vec::new();
    for (package, now) in &new.surface.0 {
        if let Some(before) = previous.get(package) {
            removed_methods(package, before, now, &mut found);
        }
        let Some(before) = baseline.get(package) else { continue };
        let own = previous.get(package);
        for (key, now) in &now.types {
            let Some(before) = before.types.get(key) else { continue };
            let check = Check {
                flags: &flags,
                message: name_of(package, &new.surface, key),
                directions: reach.directions(package, key),
            };
            check.members(before, now, &mut found);
            if let Some(own) = own.and_then(|own| own.types.get(key)) {
                check.removed(own, now, &mut found);
            }
        }
    }
    found.extend(reused_numbers(locks, &new.locks));
    found.sort();
    found.dedup();
    found
}

/// The lock, with what the module itself had in place of what the lock says.
fn overlaid(locks: &Locks, previous: &Locks) -> Locks {
    let mut baseline = locks.clone();
    for (package, own) in &previous.0 {
        let lock = baseline.0.entry(package.clone()).or_default();
        lock.service = own.service.clone().or(lock.service.take());
        lock.resources.extend(own.resources.clone());
        lock.methods.extend(own.methods.clone());
        lock.types.extend(own.types.clone());
    }
    baseline
}

fn flags(locks: &Locks) -> HashSet<String> {
    let is_flags = |(package, key): &(&str, &str)| {
        let one = locks.get(package).and_then(|lock| lock.types.get(*key));
        one.is_some_and(|one| one.kind == TypeKind::Flags)
    };
    reach::by_name(locks).into_iter().filter(|(_, at)| is_flags(at)).map(|(name, _)| name).collect()
}

fn removed_methods(package: &str, before: &Lock, now: &Lock, found: &mut Vec<Break>) {
    let gone = before.methods.iter().filter(|(name, _)| !now.methods.contains_key(*name));
    for (function, rpc) in gone {
        let services = (before.service_of(function), now.service_of(function));
        let (Some(service), Some(_)) = services else { continue };
        found.push(Break {
            subject: format!("{package}.{service}/{rpc}"),
            description: "the function is gone".to_owned(),
        });
    }
}

/// One message or enum that was there before.
struct Check<'a> {
    /// Full names of all flags.
    flags: &'a HashSet<String>,
    message: String,
    directions: Directions,
}

impl Check<'_> {
    fn members(&self, before: &TypeLock, now: &TypeLock, found: &mut Vec<Break>) {
        if before.kind != now.kind {
            found.push(Break {
                subject: self.message.clone(),
                description: format!("was {} and is {}", words(before.kind), words(now.kind)),
            });
            return;
        }
        for (wit_name, member) in &now.members {
            let description = match before.members.get(wit_name) {
                Some(old) => changed(old, member, self.directions),
                None => self.added(now.kind, wit_name, member),
            };
            found.extend(description.map(|text| self.at(now, member, text)));
        }
    }

    fn removed(&self, before: &TypeLock, now: &TypeLock, found: &mut Vec<Break>) {
        if before.kind != now.kind {
            return;
        }
        for (wit_name, member) in &before.members {
            if !now.members.contains_key(wit_name) {
                let what = noun(now.kind);
                found.push(self.at(now, member, format!("the {what} is gone")));
            }
        }
    }

    fn added(&self, kind: TypeKind, wit_name: &str, member: &Member) -> Option<String> {
        let what = noun(kind);
        match kind {
            TypeKind::Variant | TypeKind::Enum | TypeKind::ResponseStream
                if wit_name != UNSPECIFIED =>
            {
                self.directions.received.then(|| {
                    format!("the {what} is new, and callers who do not know it could receive it")
                })
            }
            TypeKind::Request | TypeKind::Record | TypeKind::Tuple => (self.directions.sent
                && self.is_required(member.slot.as_ref()?))
            .then(|| format!("the {what} is new and must be set, which callers so far do not")),
            _ => None,
        }
    }

    /// Fields whose absence is an error: messages, but for flags, enums, and characters, for which
    /// the empty text that protobuf puts in place of a missing one does not stand.
    fn is_required(&self, slot: &Slot) -> bool {
        match slot {
            Slot::One(Item::Type(name)) => !self.flags.contains(name),
            Slot::One(Item::Own(_)) => true,
            Slot::One(Item::Scalar(Scalar::Char)) => true,
            _ => false,
        }
    }

    /// The values of an enum stand beside it, fields in their message.
    fn at(&self, of: &TypeLock, member: &Member, description: String) -> Break {
        let scope = match of.kind {
            TypeKind::Enum => self.message.rsplit_once('.').map_or("", |(scope, _)| scope),
            _ => &self.message,
        };
        Break { subject: format!("{scope}.{}", member.name), description }
    }
}

fn changed(old: &Member, new: &Member, directions: Directions) -> Option<String> {
    if old.number != new.number {
        return Some(format!("had the number {} and has {}", old.number, new.number));
    }
    match (&old.slot, &new.slot) {
        (Some(from), Some(to)) => slots::change(from, to, directions),
        _ => None,
    }
}

/// A lock that was edited by hand can give a number to a second name.
fn reused_numbers(before: &Locks, after_locks: &Locks) -> Vec<Break> {
    let mut found = Vec::new();
    for (package, after_lock) in &after_locks.0 {
        let Some(before_lock) = before.get(package) else { continue };
        for (key, after) in &after_lock.types {
            let Some(before) = before_lock.types.get(key) else { continue };
            let was: HashMap<u32, &str> =
                before.members.iter().map(|(name, one)| (one.number, name.as_str())).collect();
            for (name, member) in &after.members {
                if let Some(other) = was.get(&member.number).filter(|other| *other != name) {
                    let message = name_of(package, after_locks, key);
                    found.push(Break {
                        subject: format!("{message}.{}", member.name),
                        description: format!("uses the number of `{other}` again"),
                    });
                }
            }
        }
    }
    found
}

fn name_of(package: &str, locks: &Locks, key: &str) -> String {
    let path = locks.get(package).and_then(|lock| lock.path_of(key));
    format!("{package}.{}", path.as_deref().unwrap_or(key))
}

fn noun(kind: TypeKind) -> &'static str {
    match kind {
        TypeKind::Variant
        | TypeKind::Result
        | TypeKind::RequestStream
        | TypeKind::ResponseStream => "case",
        TypeKind::Enum => "value",
        TypeKind::Request => "parameter",
        TypeKind::Response
        | TypeKind::Record
        | TypeKind::Tuple
        | TypeKind::Flags
        | TypeKind::Wrapper
        | TypeKind::Handle => "field",
    }
}

fn words(kind: TypeKind) -> &'static str {
    match kind {
        TypeKind::Request => "a request",
        TypeKind::Response => "a response",
        TypeKind::RequestStream => "a stream of requests",
        TypeKind::ResponseStream => "a stream of responses",
        TypeKind::Record => "a record",
        TypeKind::Tuple => "a tuple",
        TypeKind::Flags => "flags",
        TypeKind::Variant => "a variant",
        TypeKind::Enum => "an enum",
        TypeKind::Result => "a result",
        TypeKind::Wrapper => "a list, option or map",
        TypeKind::Handle => "a handle",
    }
}
