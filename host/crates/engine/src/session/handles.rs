//! The handles of a session, and what a call does with them.

use std::collections::{HashMap, HashSet};

use roadstead_domain::{Fault, LimitKind, LimitReached, Limits};
use roadstead_transcode::{EncodeError, HandlePlan, Handles};
use wasmtime::component::ResourceAny;

use super::{Session, Sessions};

/// The resources that callers hold handles of. Numbers are never given twice.
#[derive(Default)]
pub(super) struct HandleTable {
    given_out: u64,
    live: HashMap<u64, ResourceAny>,
}

impl HandleTable {
    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.live.len()).unwrap_or(u64::MAX)
    }

    /// They lead nowhere from now on.
    pub(super) fn give_away(&mut self, handles: &[u64]) {
        for handle in handles {
            self.live.remove(handle);
        }
    }

    /// How many callers may hold. A call needs as many again to borrow them all, and each of the
    /// guest's tables keeps its first place free.
    pub(super) fn most(limits: &Limits) -> u64 {
        (limits.handles.saturating_sub(1) / 2).max(1)
    }

    fn add(&mut self, resource: ResourceAny) -> u64 {
        self.given_out = self.given_out.saturating_add(1);
        self.live.insert(self.given_out, resource);
        self.given_out
    }
}

/// The handles of one call.
pub(crate) struct CallHandles<'a> {
    sessions: &'a Sessions,
    /// None where the call has no session and opens none.
    session: Option<&'a Session>,
    owner: Option<&'a str>,
    /// Handles that the session may have.
    most: u64,
    seen: HashSet<u64>,
    given: Vec<u64>,
}

impl<'a> CallHandles<'a> {
    pub(super) fn new(
        sessions: &'a Sessions,
        session: Option<&'a Session>,
        owner: Option<&'a str>,
        limits: &Limits,
    ) -> Self {
        let most = HandleTable::most(limits);
        Self { sessions, session, owner, most, seen: HashSet::new(), given: Vec::new() }
    }

    /// The handles that the request gives away.
    pub(crate) fn given(self) -> Vec<u64> {
        self.given
    }
}

impl Handles for CallHandles<'_> {
    fn resource(&mut self, handle: &HandlePlan, id: &[u8]) -> Result<ResourceAny, Fault> {
        let named = self.sessions.seal.open(id, &handle.resource, self.owner);
        let named = named.ok_or(Fault::NoSuchHandle)?;
        let Some(session) = self.session.filter(|session| session.number == named.session) else {
            if self.sessions.seal.is_of_this_host(&named) {
                self.sessions.session(&named)?;
            }
            return Err(Fault::MixedSessions);
        };
        let found = session.handles.lock().live.get(&named.handle).copied();
        let resource = found.ok_or(Fault::NoSuchHandle)?;
        let again = !self.seen.insert(named.handle);
        if again && (handle.owned || self.given.contains(&named.handle)) {
            return Err(Fault::bad_input("", "a handle that is given away must stand once"));
        }
        if handle.owned {
            self.given.push(named.handle);
        }
        Ok(resource)
    }

    fn id(&mut self, handle: &HandlePlan, resource: ResourceAny) -> Result<Vec<u8>, EncodeError> {
        let session = self.session.ok_or(EncodeError::Mismatch("a handle without a session"))?;
        if !resource.owned() {
            return Err(EncodeError::Mismatch("a borrowed handle in a result"));
        }
        let mut table = session.handles.lock();
        if self.most <= table.len() {
            let used = Some(table.len().saturating_add(1));
            let (limit, allowed) = (LimitKind::Handles, self.most);
            return Err(EncodeError::Limit(LimitReached { limit, allowed, used }));
        }
        let number = table.add(resource);
        let (module, owner) = (&session.module, session.owner.as_deref());
        let module = format!("{}/{module}", module.namespace);
        Ok(self.sessions.seal.id(session.number, number, &module, &handle.resource, owner))
    }
}
