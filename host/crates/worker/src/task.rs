//! What is done with the bytes of an upload, within the limits of a worker.

use std::{borrow::Cow, collections::BTreeMap, io::Read, sync::Arc};

use roadstead_codec::{GraftError, graft, unserved};
use roadstead_domain::{ModuleName, ModuleSpec, Version};
use roadstead_engine::{EngineConfig, InspectError};
use roadstead_transcode::{Locks, MethodPlan, World, derive, to_component};
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
    /// Whether the bytes are the WIT package of a native module.
    pub native: bool,
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

/// For each exported function that is a method: why the compiled codec does not serve it, if it does
/// not.
pub type Unserved = BTreeMap<String, Option<String>>;

/// Does what the host will do, in the same order, and stops where the host will refuse: what
/// comes to its end here, however it ends, is no danger to the host.
pub(crate) fn check(upload: &Upload, bytes: &[u8], config: &EngineConfig) -> Option<Unserved> {
    if upload.native {
        let world = World::decode_package(bytes).ok()?.with_comments(&upload.wit).ok()?;
        let plans = upload.plans(&world)?;
        // Messages go as they are, as through the compiled codec.
        return Some(plans.iter().map(|plan| (plan.export.to_string(), None)).collect());
    }
    let component = to_component(bytes).ok()?;
    let world = World::decode(&component).ok()?;
    // The host has the spec, and may refuse more.
    let inspected = roadstead_engine::inspect(config, &component, &ModuleSpec::default());
    if matches!(inspected, Err(InspectError::Invalid(_))) {
        return None;
    }
    let world = world.with_comments(&upload.wit).ok()?;
    let plans = upload.plans(&world)?;
    let exports = plans.iter().map(|plan| plan.export.to_string());
    Some(exports.zip(unserved(&component, &plans)).collect())
}

/// The component with the codec of its methods, or as it is where none is served.
///
/// # Errors
/// [`GraftError`] where it should be compiled as it is.
pub(crate) fn with_codec<'a>(
    upload: &Upload,
    component: &'a [u8],
) -> Result<Cow<'a, [u8]>, GraftError> {
    let plans = World::decode(component).ok().and_then(|world| upload.plans(&world));
    let grafted = graft(component, &plans.unwrap_or_default())?;
    Ok(grafted.component.map_or(Cow::Borrowed(component), Cow::Owned))
}

impl Upload {
    fn plans(&self, world: &World) -> Option<Vec<Arc<MethodPlan>>> {
        let locks: Locks = match self.lock.trim() {
            "" => Locks::default(),
            text => text.parse().ok()?,
        };
        let derived = derive(world, &self.name, &self.version, &locks).ok()?;
        Some(derived.services.into_iter().flat_map(|service| service.methods).collect())
    }
}
