//! Gives out names and numbers within one protobuf package: those of the lock where it has them,
//! else the next free ones. What was given out once is never given to anything else.

use std::collections::HashSet;

use indexmap::IndexMap;

use crate::{
    DeriveError,
    lock::{
        KEPT_NUMBERS, LAST_NUMBER, Lock, Member, Slot, TypeKind, TypeLock, UNSPECIFIED, resource_of,
    },
    names::{self, Numbering},
};

/// One package while its schema is derived.
pub(super) struct Ledger {
    /// Every module's entries, the ones given out now included.
    pub(super) union: Lock,
    /// The entries of the module at hand alone.
    pub(super) surface: Lock,
    /// Names at file level: services, messages, enums and enum values.
    taken: HashSet<String>,
    /// Rpcs after the resource that they belong to, and a dot.
    rpcs: HashSet<String>,
    numbering: Numbering,
}

/// A member's place in its message or enum.
pub(super) struct Place {
    pub(super) number: u32,
    pub(super) name: String,
}

/// What one message has given out, for as long as it is being built.
pub(super) struct Members {
    numbers: u32,
    /// Fields by their JSON names, values by what protobuf compares them by.
    identities: HashSet<String>,
    /// Nested messages and entries of maps.
    nested: HashSet<String>,
    numbering: Numbering,
}

impl Ledger {
    pub(super) fn new(union: Lock) -> Self {
        let values = union.types.values().filter(|one| one.kind == TypeKind::Enum);
        let taken = union
            .service
            .iter()
            .chain(union.resources.values())
            .chain(values.flat_map(|one| one.members.values().map(|value| &value.name)))
            .chain(union.types.iter().filter(|(key, _)| !key.contains('.')).map(|(_, t)| &t.name))
            .cloned()
            .chain(union.methods.iter().flat_map(|(of, rpc)| rpc_messages(prefix(&union, of), rpc)))
            .collect();
        let rpcs = union.methods.iter().map(|(function, rpc)| rpc_in_service(function, rpc));
        let rpcs = rpcs.collect();
        let numbering = Numbering::default();
        Self { union, surface: Lock::default(), taken, rpcs, numbering }
    }

    /// Names the service of an interface, or of a resource in it.
    pub(super) fn service(&mut self, interface: &str, resource: Option<&str>) -> String {
        let known = match resource {
            Some(resource) => self.union.resources.get(resource),
            None => self.union.service.as_ref(),
        };
        let name = known.cloned().unwrap_or_else(|| {
            let wanted = names::camel(interface) + &resource.map(names::camel).unwrap_or_default();
            self.numbering.name(&wanted, "", wanted.clone(), |name| !self.taken.contains(name))
        });
        self.taken.insert(name.clone());
        for lock in [&mut self.union, &mut self.surface] {
            match resource {
                Some(resource) => drop(lock.resources.insert(resource.to_owned(), name.clone())),
                None => lock.service = Some(name.clone()),
            }
        }
        name
    }

    /// Names an rpc and its messages, all three as one.
    pub(super) fn method(&mut self, function: &str) -> String {
        let name = self.union.methods.get(function).cloned().unwrap_or_else(|| {
            let wanted = names::rpc(function);
            let before = prefix(&self.union, function);
            let identity = format!("rpc {}", rpc_in_service(function, &wanted));
            self.numbering.name(&wanted, "", identity, |rpc| {
                !self.rpcs.contains(&rpc_in_service(function, rpc))
                    && !rpc_messages(before, rpc).iter().any(|name| self.taken.contains(name))
            })
        });
        self.rpcs.insert(rpc_in_service(function, &name));
        self.taken.extend(rpc_messages(prefix(&self.union, function), &name));
        self.union.methods.insert(function.to_owned(), name.clone());
        self.surface.methods.insert(function.to_owned(), name.clone());
        name
    }

    /// The message `<Rpc>Request` or `<Rpc>Response`.
    pub(super) fn method_message(&mut self, function: &str, kind: TypeKind) -> (String, String) {
        let rpc = self.union.methods.get(function).cloned().unwrap_or_default();
        let [request, response] = rpc_messages(prefix(&self.union, function), &rpc);
        let (key, name) = if matches!(kind, TypeKind::Request | TypeKind::RequestStream) {
            (format!("{function}/request"), request)
        } else {
            (format!("{function}/response"), response)
        };
        let name = self.open(&key, kind, |_| name);
        (key, name)
    }

    /// Names a type at file level, under its WIT name as key.
    pub(super) fn named_type(&mut self, wit_name: &str, kind: TypeKind) -> String {
        let name = self.open(wit_name, kind, |ledger| {
            let wanted = match kind {
                TypeKind::Handle => names::camel(wit_name) + "Handle",
                _ => names::camel(wit_name),
            };
            ledger.numbering.type_name(&wanted, |name| !ledger.taken.contains(name))
        });
        self.taken.insert(name.clone());
        name
    }

    /// Names a message nested in the message `parent`.
    pub(super) fn nested_type(
        &mut self,
        parent: &str,
        members: &mut Members,
        enclosing: &[String],
        field: &str,
        kind: TypeKind,
    ) -> (String, String) {
        let key = format!("{parent}.{field}");
        let name = self.open(&key, kind, |_| {
            // Java and C++ refuse a class with the name of one that it stands in.
            members.numbering.type_name(&names::camel(field), |name| {
                !members.nested.contains(name) && !enclosing.iter().any(|one| one == name)
            })
        });
        members.nested.insert(name.clone());
        (key, name)
    }

    fn open(
        &mut self,
        key: &str,
        kind: TypeKind,
        fresh: impl FnOnce(&mut Self) -> String,
    ) -> String {
        let name = match self.union.types.get_mut(key) {
            Some(known) => {
                if (known.kind == TypeKind::Enum) != (kind == TypeKind::Enum) {
                    known.members.clear();
                }
                known.kind = kind;
                known.name.clone()
            }
            None => {
                let name = fresh(self);
                self.union.types.insert(key.to_owned(), TypeLock::new(name.clone(), kind));
                name
            }
        };
        self.surface.types.insert(key.to_owned(), TypeLock::new(name.clone(), kind));
        name
    }

    /// What the message or enum under a key has given out so far.
    pub(super) fn members(&self, key: &str) -> Members {
        let known = self.union.types.get(key).map(|one| &one.members);
        let all = || known.into_iter().flat_map(IndexMap::values);
        let children = format!("{key}.");
        let nested = self.union.types.range(children.clone()..);
        let nested = nested
            .take_while(|(key, _)| key.starts_with(&children))
            .filter(|(key, _)| key.get(children.len()..).is_some_and(|field| !field.contains('.')))
            .map(|(_, one)| one.name.clone());
        let entries = all()
            .filter(|member| matches!(member.slot, Some(Slot::Map(..))))
            .map(|member| names::map_entry(&member.name));
        Members {
            numbers: all().map(|member| member.number).max().unwrap_or(0),
            identities: all().map(identity).collect(),
            nested: nested.chain(entries).collect(),
            numbering: Numbering::default(),
        }
    }

    /// The number and name of a field.
    pub(super) fn field(
        &mut self,
        key: &str,
        members: &mut Members,
        wit_name: &str,
        is_map: bool,
    ) -> Result<Place, DeriveError> {
        if let Some(known) = self.known(key, wit_name) {
            if is_map {
                members.nested.insert(names::map_entry(&known.name));
            }
            return Ok(known);
        }
        let wanted = names::snake(wit_name);
        let Members { identities, nested, numbering, .. } = &mut *members;
        let name = numbering.name(&wanted, "_", names::json_name(&wanted), |name| {
            let entry_taken = || is_map && nested.contains(&names::map_entry(name));
            !identities.contains(&names::json_name(name)) && !entry_taken()
        });
        members.identities.insert(names::json_name(&name));
        if is_map {
            members.nested.insert(names::map_entry(&name));
        }
        Ok(Place { number: members.next_number(key)?, name })
    }

    /// Names the values of an enum, its zero first. Values share the names of the file.
    pub(super) fn values<'a>(
        &mut self,
        key: &str,
        cases: impl Iterator<Item = &'a str>,
    ) -> Result<(), DeriveError> {
        let prefix = self.value_prefix(key);
        let mut members = self.members(key);
        for wit_name in std::iter::once(UNSPECIFIED).chain(cases) {
            let place = match self.known(key, wit_name) {
                Some(place) => place,
                None => self.fresh_value(key, &mut members, &prefix, wit_name)?,
            };
            self.record(key, wit_name, &place, None);
        }
        Ok(())
    }

    fn fresh_value(
        &mut self,
        key: &str,
        members: &mut Members,
        prefix: &str,
        wit_name: &str,
    ) -> Result<Place, DeriveError> {
        let (number, word) = if wit_name == UNSPECIFIED {
            (0, "UNSPECIFIED".to_owned())
        } else {
            (members.next_number(key)?, names::upper(wit_name))
        };
        let wanted = format!("{prefix}_{word}");
        let identity = names::value_identity(&wanted);
        let Members { identities, numbering, .. } = &mut *members;
        let name = numbering.name(&wanted, "_", identity, |name| {
            !self.taken.contains(name) && !identities.contains(&names::value_identity(name))
        });
        self.taken.insert(name.clone());
        members.identities.insert(names::value_identity(&name));
        Ok(Place { number, name })
    }

    /// `deep-blue` → `DEEP_BLUE`, followed by what the enum's own name got as a suffix.
    fn value_prefix(&self, key: &str) -> String {
        let plain = names::camel(key);
        let name = self.union.types.get(key).map_or(plain.as_str(), |one| &one.name);
        let suffix = name.strip_prefix(&plain).unwrap_or_default();
        let separator = if suffix.is_empty() { "" } else { "_" };
        format!("{}{separator}{}", names::upper(key), suffix.to_ascii_uppercase())
    }

    fn known(&self, key: &str, wit_name: &str) -> Option<Place> {
        let Member { number, name, .. } = self.union.types.get(key)?.members.get(wit_name)?;
        Some(Place { number: *number, name: name.clone() })
    }

    /// Writes down a member that now has its place and type.
    pub(super) fn record(&mut self, key: &str, wit_name: &str, place: &Place, slot: Option<Slot>) {
        for lock in [&mut self.union, &mut self.surface] {
            if let Some(one) = lock.types.get_mut(key) {
                let Place { number, name } = place;
                let member = Member { number: *number, name: name.clone(), slot: slot.clone() };
                one.members.insert(wit_name.to_owned(), member);
            }
        }
    }

    /// Members that the module at hand no longer has, whose numbers and names stay reserved.
    pub(super) fn removed(&self, key: &str) -> Vec<&Member> {
        let current = self.surface.types.get(key).map(|one| &one.members);
        let known = self.union.types.get(key).map(|one| &one.members);
        known
            .into_iter()
            .flatten()
            .filter(|(wit_name, _)| !current.is_some_and(|members| members.contains_key(*wit_name)))
            .map(|(_, member)| member)
            .collect()
    }
}

impl Members {
    fn next_number(&mut self, key: &str) -> Result<u32, DeriveError> {
        let mut number = self.numbers.saturating_add(1);
        if KEPT_NUMBERS.contains(&number) {
            number = KEPT_NUMBERS.end().saturating_add(1);
        }
        if number > LAST_NUMBER {
            return Err(DeriveError::NumbersUsedUp(key.to_owned()));
        }
        self.numbers = number;
        Ok(number)
    }
}

/// The request and the response of an rpc, whose names begin with the service of a resource.
fn rpc_messages(prefix: &str, rpc: &str) -> [String; 2] {
    [format!("{prefix}{rpc}Request"), format!("{prefix}{rpc}Response")]
}

fn prefix<'a>(lock: &'a Lock, function: &str) -> &'a str {
    let service = resource_of(function).and_then(|resource| lock.resources.get(resource));
    service.map_or("", String::as_str)
}

fn rpc_in_service(function: &str, rpc: &str) -> String {
    format!("{}.{rpc}", resource_of(function).unwrap_or_default())
}

fn identity(member: &Member) -> String {
    if member.slot.is_some() {
        names::json_name(&member.name)
    } else {
        names::value_identity(&member.name)
    }
}
