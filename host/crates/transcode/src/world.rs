//! What a component imports and exports, read from its bytes or from WIT text.

mod binary;
mod bounds;
mod embedded;
mod interface;
mod package;
mod text;

use wit_parser::{Resolve, WorldId};

pub use binary::{componentize, preview1_adapter, to_component};
pub use embedded::{WIT_SECTION, embed_wit, embedded_wit};

/// Why there is no world to work with. The texts tell the author of a module what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    #[error(
        "this is not WebAssembly: expected a component, the output of a build for wasm32-wasip2"
    )]
    NotWasm,
    #[error(
        "this is a core WebAssembly module without WIT metadata, so it has no types to serve: \
         build for wasm32-wasip2, or use bindings that embed their WIT (wit-bindgen)"
    )]
    NoWit,
    #[error("this is a core WebAssembly module: turn it into a component first")]
    CoreModule,
    #[error("this is a WIT package in binary form, not a component that can run")]
    WitPackage,
    #[error(
        "this is not a WIT package in binary form with one world: `roadstead push --native` makes \
         one for a native module"
    )]
    NotPackage,
    #[error("the file ends too early: {0}; was it cut off while copying?")]
    Truncated(String),
    #[error("the component is not valid: {0}")]
    Malformed(String),
    /// Working on it could take longer than it is worth. `found` is what was counted until it was
    /// clear; there may be more.
    #[error("it has {found} {what}, and this host takes {most} at most")]
    TooMany { what: &'static str, most: u64, found: u64 },
    #[error("the core module cannot be turned into a component: {0}")]
    Componentize(String),
    #[error("the WIT text does not read: {0}")]
    Text(String),
}

/// The decoded interface of one component.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) resolve: Resolve,
    pub(crate) world: WorldId,
    /// Exports by a plain name that the WIT in the component does not declare, left out of `world`.
    pub(crate) undeclared: Vec<String>,
    component_instances: u64,
}

impl World {
    /// Reads a component, and the comments of the WIT text embedded in it, if any.
    ///
    /// Exports by a plain name that the text knows nothing of are a toolchain's own (componentize-py
    /// adds `exports`, with which an interpreter is started at build time) and nobody's service.
    ///
    /// # Errors
    /// [`WorldError`] for anything that is not a whole, valid component.
    pub fn decode(component: &[u8]) -> Result<Self, WorldError> {
        let world = binary::decode(component)?;
        let files = embedded_wit(component);
        if files.is_empty() {
            return Ok(world);
        }
        // Comments are a courtesy: text that does not read costs a module its comments, no more.
        let Ok((text, _)) = text::parse(&files) else { return Ok(world) };
        let mut world = world;
        text::graft(&mut world, &text);
        text::keep_declared(&mut world, &text);
        Ok(world)
    }

    /// Reads WIT text given as paths and contents. Files below `deps/` are dependencies; `world`
    /// may be left out where the package has one world, or none and all interfaces are meant.
    ///
    /// # Errors
    /// [`WorldError::Text`] shows the place in the text.
    pub fn from_wit(files: &[(String, String)], world: Option<&str>) -> Result<Self, WorldError> {
        let (mut resolve, package) = text::parse(files)?;
        let world = text::select(&mut resolve, package, world)?;
        Ok(Self { resolve, world, undeclared: Vec::new(), component_instances: 1 })
    }

    /// Takes over the comments, and the order in which things are declared, from WIT text. No files
    /// change nothing.
    ///
    /// # Errors
    /// [`WorldError::Text`] shows the place in the text.
    pub fn with_comments(mut self, files: &[(String, String)]) -> Result<Self, WorldError> {
        if files.is_empty() {
            return Ok(self);
        }
        let (text, _) = text::parse(files)?;
        text::graft(&mut self, &text);
        Ok(self)
    }

    /// Instances of components, this one among them, of which one instance of it consists.
    pub fn component_instances(&self) -> u64 {
        self.component_instances
    }

    /// The name of the world in WIT; of a component, `root`.
    pub fn name(&self) -> &str {
        self.resolve.worlds.get(self.world).map_or("", |world| &world.name)
    }

    /// The exported interfaces as one WIT text, comments included: [`World::from_wit`] reads it
    /// again, as a world of the same exports.
    ///
    /// # Errors
    /// [`WorldError::Text`] for what WIT text cannot say.
    pub fn to_wit(&self) -> Result<String, WorldError> {
        interface::print(self)
    }

    /// The names of everything that the component imports.
    pub fn imports(&self) -> Vec<String> {
        let world = self.resolve.worlds.get(self.world);
        let keys = world.into_iter().flat_map(|world| world.imports.iter());
        // The types of the world itself are no imports that anybody could supply.
        keys.filter(|(_, item)| !matches!(item, wit_parser::WorldItem::Type { .. }))
            .map(|(key, _)| self.resolve.name_world_key(key))
            .collect()
    }
}
