//! The nested parts of a resource: no more is ever taken of one than its bound.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// What is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Module,
    Namespace,
    Whole,
}

/// How much of what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) count: u64,
    /// What the module may have with it; differs by version.
    pub(crate) most: u64,
}

/// A bound and what is taken of it.
#[derive(Debug)]
pub(crate) struct Part {
    pub(super) level: Level,
    pub(super) most: u64,
    pub(super) taken: AtomicU64,
    pub(super) around: Option<Arc<Part>>,
}

impl Part {
    pub(super) fn new(level: Level, most: u64, around: Option<Arc<Self>>) -> Self {
        Self { level, most, taken: AtomicU64::new(0), around }
    }

    pub(super) fn largest(&self) -> u64 {
        let around = self.around.as_ref().map_or(u64::MAX, |part| part.largest());
        self.most.min(around)
    }

    /// Whether it fits into this part, whatever is around.
    pub(super) fn fits_alone(&self, ask: Ask) -> Result<(), Level> {
        let with = self.taken.load(Ordering::Relaxed).saturating_add(ask.count);
        if self.most.min(ask.most) < with { Err(self.level) } else { Ok(()) }
    }

    pub(super) fn fits(&self, ask: Ask) -> Result<(), Level> {
        self.fits_alone(ask)?;
        let around = self.around.as_ref();
        around.map_or(Ok(()), |part| part.fits(Ask { most: u64::MAX, ..ask }))
    }

    pub(super) fn add_alone(&self, count: u64) {
        self.taken.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn sub_alone(&self, count: u64) {
        self.taken.fetch_sub(count, Ordering::Relaxed);
    }

    pub(super) fn add(&self, count: u64) {
        self.add_alone(count);
        if let Some(part) = &self.around {
            part.add(count);
        }
    }

    pub(super) fn sub(&self, count: u64) {
        self.sub_alone(count);
        if let Some(part) = &self.around {
            part.sub(count);
        }
    }
}
