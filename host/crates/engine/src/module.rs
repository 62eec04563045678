//! One published version of a module, ready to be called.

use std::sync::Arc;

use roadstead_domain::{Digest, Fault, ModuleId, ModuleSpec};

use crate::{Call, CodeSource, Engine, LoadError, Outcome, Stats, Usage, capability::Granted};

/// One import of a component and what serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportGrant {
    pub name: String,
    pub grant: String,
}

/// One version of a module. Cheap while nobody calls it: its code is mapped on the first call and
/// dropped when others need the room.
pub struct Module {
    id: ModuleId,
    digest: Digest,
    spec: Arc<ModuleSpec>,
    code: Arc<dyn CodeSource>,
    granted: Granted,
    engine: Arc<Engine>,
}

impl Module {
    pub(crate) fn new(
        id: ModuleId,
        digest: Digest,
        spec: Arc<ModuleSpec>,
        code: Arc<dyn CodeSource>,
        granted: Granted,
        engine: Arc<Engine>,
    ) -> Self {
        Self { id, digest, spec, code, granted, engine }
    }

    pub fn id(&self) -> &ModuleId {
        &self.id
    }

    /// Maps the code and links it now instead of on the first call. Blocks.
    ///
    /// # Errors
    /// [`LoadError`]: nobody could call the module.
    pub fn load(&self) -> Result<(), LoadError> {
        Ok(())
    }

    /// Runs one call and answers by its deadline, whatever the guest does. Dropping the future
    /// cancels the call: the guest gets no time after its next tick.
    pub async fn call(&self, _call: Call) -> Outcome {
        Outcome { result: Err(Fault::NotReady("calls".to_owned())), usage: Usage::default() }
    }

    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}
