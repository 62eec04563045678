//! Counts the memories and tables of one instance, all of them together, and says no.
//!
//! A refused growth reaches the guest as -1, and what the guest makes of that is its own affair.
//! The refusal is remembered, so that a trap that follows is put down to the limit behind it.

use std::sync::Weak;

use roadstead_domain::{LimitKind, LimitReached, Limits};
use wasmtime::ResourceLimiter;

use crate::gate::{Level, Taken};

/// What a table's element takes on the host: a pointer.
const ELEMENT: u64 = 8;

/// Why a growth was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Limit(LimitReached),
    /// The host's memory budget is used up, or a part of it.
    Host(Level),
}

/// The account of one instance's memory.
pub(crate) struct Limiter {
    memory: u64,
    tables: u64,
    parts: usize,
    /// Bytes of memories and tables.
    bytes: u64,
    elements: u64,
    share: Share,
    refused: Option<Refusal>,
}

/// An instance's share of the host's memory: its memories and tables, and what it costs besides.
pub(crate) struct Share {
    pub(crate) taken: Taken,
    pub(crate) besides: u64,
    /// What the module may have.
    pub(crate) most: u64,
    /// Whose idle instances may go for a growth. It keeps none of them alive.
    pub(crate) module: Weak<dyn MakesRoom>,
}

/// Has idle instances that may go.
///
/// A trait, so that the type of an instance does not lead back to itself: what asks whether it may
/// cross threads would follow every way around.
pub(crate) trait MakesRoom: Send + Sync {
    /// Drops an idle instance for what is used up; says if there was one.
    fn make_room(&self, level: Level) -> bool;
}

struct Growth {
    bytes: u64,
    elements: u64,
}

impl Limiter {
    /// `beside` is how many core instances, and memories, the host adds to the component's own.
    pub(crate) fn new(limits: &Limits, beside: usize, share: Share) -> Self {
        Self {
            memory: limits.memory.0,
            tables: limits.tables,
            parts: usize::try_from(limits.instances).unwrap_or(usize::MAX).saturating_add(beside),
            bytes: 0,
            elements: 0,
            share,
            refused: None,
        }
    }

    /// Memories and tables now. They never shrink, so this is their peak too.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn refused(&self) -> Option<Refusal> {
        self.refused
    }

    /// The instance lies idle from now on: what it has not used goes back.
    pub(crate) fn settle(&mut self) {
        self.share.taken.shrink_to(self.bytes.saturating_add(self.share.besides));
    }

    /// A reused instance starts another call.
    pub(crate) fn begin_call(&mut self) {
        self.refused = None;
    }

    fn grow(&mut self, growth: Growth) -> bool {
        let elements = self.elements.saturating_add(growth.elements);
        let bytes = self.bytes.saturating_add(growth.bytes);
        let over = |limit, allowed, used| {
            Refusal::Limit(LimitReached { limit, allowed, used: Some(used) })
        };
        let refusal = if self.tables < elements {
            over(LimitKind::Tables, self.tables, elements)
        } else if self.memory < bytes {
            over(LimitKind::Memory, self.memory, bytes)
        } else if let Err(level) = self.share.grow_to(bytes) {
            Refusal::Host(level)
        } else {
            self.elements = elements;
            self.bytes = bytes;
            return true;
        };
        self.refused = Some(refusal);
        false
    }

    /// The system had no memory for a growth that was allowed. The growth stays counted: wasmtime
    /// also reports growths here that it never asked for, and a guest could otherwise have its
    /// account lowered by asking for the impossible.
    fn failed(&mut self, error: &wasmtime::Error) {
        if error.chain().any(|cause| cause.is::<std::io::Error>()) {
            tracing::warn!(error = %format_args!("{error:#}"), "grow a guest's memory");
            self.refused = Some(Refusal::Host(Level::Whole));
        }
    }
}

impl Share {
    fn grow_to(&mut self, bytes: u64) -> Result<(), Level> {
        loop {
            let grown = self.taken.grow_to(bytes.saturating_add(self.besides), self.most);
            let Err(level) = grown else { return Ok(()) };
            if !self.module.upgrade().is_some_and(|module| module.make_room(level)) {
                return Err(level);
            }
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| maximum < desired) {
            return Ok(false);
        }
        Ok(self.grow(Growth { bytes: difference(current, desired), elements: 0 }))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed(&error);
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| maximum < desired) {
            return Ok(false);
        }
        let elements = difference(current, desired);
        Ok(self.grow(Growth { bytes: elements.saturating_mul(ELEMENT), elements }))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed(&error);
        Ok(())
    }

    fn instances(&self) -> usize {
        self.parts
    }

    fn tables(&self) -> usize {
        self.parts
    }

    fn memories(&self) -> usize {
        self.parts
    }
}

fn difference(current: usize, desired: usize) -> u64 {
    u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX)
}
