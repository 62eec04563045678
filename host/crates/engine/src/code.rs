//! Compiled code: where it comes from, and how it is mapped.

use std::{fs::File, sync::Arc};

use bytes::Bytes;
use parking_lot::RwLock;
use roadstead_domain::{ByteSize, Limits};
use roadstead_transcode::MethodPlan;
use wasmtime::{
    Engine,
    component::{Component, ComponentExportIndex, InstancePre, Linker, types::ComponentItem},
};

use crate::{CodeError, LoadError, binding::Bound, store::GuestState, weight};

/// Methods of a module whose exports are remembered.
const METHODS: usize = 1024;

/// Compiled code that its source vouches for: made by [`crate::Compiler::compile`] for the same
/// fingerprint, and unchanged since. Whoever makes one from anything else gives the
/// author of those bytes the whole host.
#[derive(Debug)]
pub enum VerifiedCode {
    /// The whole file is the code. It is mapped, not read, and must never change or shrink while
    /// it exists: write once, rename into place, delete by unlinking.
    File(File),
    Bytes(Bytes),
}

/// How a module's code stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeState {
    There,
    /// It is to be made.
    Missing,
    /// It could not be made, and why.
    Failed(String),
}

/// Where a module's compiled code comes from, again and again: code is mapped on the first call,
/// dropped under memory pressure and asked for anew.
pub trait CodeSource: Send + Sync {
    /// Opens the code. May block and may take as long as compiling does.
    ///
    /// # Errors
    /// [`CodeError`] if there is none and none can be made.
    fn open(&self) -> Result<VerifiedCode, CodeError>;

    /// How the code stands, without reading it or waiting for it.
    fn state(&self) -> CodeState {
        CodeState::There
    }

    /// Instances of components, itself among them, of which an instance of it consists. Each can
    /// suspend one call on a stack of its own.
    fn component_instances(&self) -> u64 {
        1
    }

    /// Whether the code may hold the compiled codec of the module's methods.
    fn has_codec(&self) -> bool {
        false
    }
}

/// A module's code, mapped and linked, ready to be instantiated.
pub(crate) struct Loaded {
    pub(crate) pre: InstancePre<GuestState>,
    /// Bytes of address space.
    pub(crate) size: u64,
    /// Memories that an instance has: how many slots it takes.
    pub(crate) memories: u32,
    /// Stacks that an instance may take: one runs, the others are suspended.
    pub(crate) stacks: u64,
    pub(crate) tables: u32,
    /// How many times wasmtime's count the parameters of bound imports can take on the host.
    pub(crate) bound_weight: usize,
    /// The instance with the compiled codec's functions.
    codec: Option<ComponentExportIndex>,
    methods: RwLock<Vec<(Arc<MethodPlan>, Export)>>,
}

/// An exported function, found.
#[derive(Clone)]
pub(crate) struct Export {
    pub(crate) index: ComponentExportIndex,
    /// Values that it returns: none or one.
    pub(crate) results: usize,
    /// How many times wasmtime's count they can take on the host.
    pub(crate) weight: usize,
    /// The compiled codec's function for it.
    pub(crate) codec: Option<ComponentExportIndex>,
}

impl Loaded {
    /// Maps and links the code. Blocks.
    pub(crate) fn load(
        engine: &Engine,
        linker: &Linker<GuestState>,
        limits: &Limits,
        source: &dyn CodeSource,
        bound: Option<&Arc<Bound>>,
    ) -> Result<Self, LoadError> {
        let component = map(engine, source.open()?).map_err(LoadError::Map)?;
        let needs = component
            .resources_required()
            .ok_or_else(|| LoadError::NeverFits("it imports core modules".to_owned()))?;
        if let Some(pages) = needs.max_initial_memory_size
            && limits.memory.0 < pages.saturating_mul(64 << 10)
        {
            return Err(LoadError::NeverFits(format!(
                "a memory starts with {}, and limits.memory is {}",
                ByteSize(pages.saturating_mul(64 << 10)),
                limits.memory
            )));
        }
        if limits.tables < needs.max_initial_table_size.unwrap_or(0) {
            return Err(LoadError::NeverFits(format!(
                "a table starts with {} elements, and limits.tables is {}",
                needs.max_initial_table_size.unwrap_or(0),
                limits.tables
            )));
        }
        let codec = || {
            let mut names = roadstead_codec::export_names().rev();
            names.find_map(|name| component.get_export_index(None, &name))
        };
        let codec = source.has_codec().then(codec).flatten();
        let most = limits.instances.saturating_add(u64::from(codec.is_some()));
        for (what, count) in [("memories", needs.num_memories), ("tables", needs.num_tables)] {
            if most < u64::from(count) {
                return Err(LoadError::NeverFits(format!(
                    "it has {count} {what}, and limits.instances is {}",
                    limits.instances
                )));
            }
        }
        let image = component.image_range();
        let size = image.end.addr().saturating_sub(image.start.addr());
        let (pre, bound_weight) = match bound {
            None => (linker.instantiate_pre(&component), 1),
            Some(bound) => {
                let mut linker = linker.clone();
                let weight = bound.link(&mut linker, &component)?;
                (linker.instantiate_pre(&component), weight)
            }
        };
        let pre = pre.map_err(LoadError::Link)?;
        Ok(Self {
            pre,
            size: u64::try_from(size).unwrap_or(u64::MAX),
            memories: needs.num_memories,
            stacks: source.component_instances().saturating_add(1),
            tables: needs.num_tables,
            bound_weight,
            codec,
            methods: RwLock::default(),
        })
    }

    /// Core instances, and memories, that the compiled codec adds to the component's own: the spec
    /// counts those alone.
    pub(crate) fn codec_parts(&self) -> usize {
        usize::from(self.codec.is_some())
    }

    /// The function behind a method, found by name once and remembered.
    pub(crate) fn export(&self, method: &Arc<MethodPlan>) -> Option<Export> {
        let known = |methods: &[(Arc<MethodPlan>, Export)]| {
            let found = methods.iter().find(|(plan, _)| Arc::ptr_eq(plan, method));
            found.map(|(_, export)| export.clone())
        };
        if let Some(export) = known(&self.methods.read()) {
            return Some(export);
        }
        let export = self.find(method)?;
        let mut methods = self.methods.write();
        if methods.len() < METHODS && known(&methods).is_none() {
            methods.push((Arc::clone(method), export.clone()));
        }
        Some(export)
    }

    fn find(&self, method: &MethodPlan) -> Option<Export> {
        let path = &method.export;
        let component = self.pre.component();
        let parent = match &path.interface {
            Some(interface) => Some(component.get_export_index(None, interface)?),
            None => None,
        };
        let (item, index) = component.get_export(parent.as_ref(), &path.function)?;
        match item {
            ComponentItem::ComponentFunc(function) => {
                let weight = weight::of_response(&method.response);
                let codec = self.codec.as_ref().and_then(|codec| {
                    let name = roadstead_codec::function_name(path);
                    component.get_export_index(Some(codec), &name)
                });
                Some(Export { index, results: function.results().len(), weight, codec })
            }
            _ => None,
        }
    }
}

#[expect(unsafe_code, reason = "compiled code is run as it is: there is no safe way to load it")]
fn map(engine: &Engine, code: VerifiedCode) -> wasmtime::Result<Component> {
    match code {
        // The path leads to the very file that was verified, wherever its name points by now.
        VerifiedCode::File(file) => {
            use std::os::fd::AsRawFd as _;
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            // SAFETY: whoever makes a `VerifiedCode` vouches that the file holds the output of
            // `Compiler::compile` and never changes; wasmtime checks version and settings itself.
            unsafe { Component::deserialize_file(engine, path) }
        }
        // SAFETY: as above, for bytes that nobody else can write.
        VerifiedCode::Bytes(bytes) => unsafe { Component::deserialize(engine, &bytes) },
    }
}
