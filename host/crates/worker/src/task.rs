//! What is done with the bytes of an upload, within the limits of a worker.

use std::io::Read;

use roadstead_domain::{ModuleName, ModuleSpec, Version};
use roadstead_engine::{EngineConfig, InspectError};
use roadstead_transcode::{Locks, World, derive, to_component};
use serde::{Deserialize, Serialize};

/// What a push brings besides its bytes, as far as it takes part in what they cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Upload {
    pub name: ModuleName,
    pub version: Version,
    /// Path and text.
    pub wit: Vec<(String, String)>,
    /// As text.
    pub lock: String,
}

impl Upload {
    /// What goes before the bytes.
    pub(crate) fn header(&self) -> Result<Vec<u8>, serde_json::Error> {
        let json = serde_json::to_vec(self)?;
        let mut header = u64::try_from(json.len()).unwrap_or(u64::MAX).to_le_bytes().to_vec();
        header.extend(json);
        Ok(header)
    }

    pub(crate) fn read(from: &mut impl Read) -> std::io::Result<Self> {
        let mut length = [0; 8];
        from.read_exact(&mut length)?;
        let mut json = Vec::new();
        from.take(u64::from_le_bytes(length)).read_to_end(&mut json)?;
        Ok(serde_json::from_slice(&json)?)
    }
}

/// Does what the host will do, in the same order, and stops where the host will refuse: what
/// comes to its end here, however it ends, is no danger to the host.
pub(crate) fn check(upload: &Upload, bytes: &[u8], config: &EngineConfig) {
    let Ok(component) = to_component(bytes) else { return };
    let Ok(world) = World::decode(&component) else { return };
    // The host has the spec, and may refuse more.
    let inspected = roadstead_engine::inspect(config, &component, &ModuleSpec::default());
    if matches!(inspected, Err(InspectError::Invalid(_))) {
        return;
    }
    let Ok(world) = world.with_comments(&upload.wit) else { return };
    let locks = match upload.lock.trim() {
        "" => Ok(Locks::default()),
        text => text.parse(),
    };
    let Ok(locks) = locks else { return };
    drop(derive(&world, &upload.name, &upload.version, &locks));
}
