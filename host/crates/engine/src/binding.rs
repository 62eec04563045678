//! Imports that other modules serve.
//!
//! A bound import is a host function: the guest's values become a request, another module of the
//! same namespace is called with it like by any caller, and the values of its response go back to
//! the guest. Who serves is asked at each call, so that a new version of the other module takes over
//! at once. The guest waits suspended; its thread runs others meanwhile.
//!
//! The call takes with it how the guest was called: who called, how much time is left, and through
//! which modules it came, so that bindings that lead in a circle end at once. What the other module
//! takes is charged to it; the values on this side count against this module's `host_copy`.

mod call;
mod path;

use std::{sync::Arc, time::Instant};

use roadstead_domain::{BindingHop, BindingProblem, CallId, Fault, ModuleSpec};
use roadstead_transcode::MethodPlan;
use wasmtime::component::{Component, Linker, types::ComponentItem};

pub use path::CallPath;

use crate::{Call, LoadError, Module, module::Inner, parts::Parts, store::GuestState, weight};

/// Says who serves the bound imports of one version of a module.
pub trait Bindings: Send + Sync {
    /// Who answers the next call of an imported function.
    ///
    /// # Errors
    /// [`BindingProblem::Absent`] or [`BindingProblem::Mismatch`], or the fault that every call of
    /// the version ends in that would serve.
    fn target(&self, import: &str, function: &str) -> Result<Target, BindingProblem>;
}

/// Who serves a call through a binding.
pub struct Target {
    pub module: Arc<Module>,
    /// Of a function that has the import's very type.
    pub method: Arc<MethodPlan>,
    /// Hears how the call ended.
    pub outcomes: Arc<dyn CountsOutcomes>,
}

/// Counts how the calls of a version end.
pub trait CountsOutcomes: Send + Sync {
    /// A call ended: with a fault, or with an answer.
    fn count(&self, fault: Option<&Fault>);
}

/// What a call through a binding takes over from the call that its guest serves.
#[derive(Debug)]
pub(crate) struct Caller {
    id: CallId,
    deadline: Instant,
    owner: Option<Arc<str>>,
    path: CallPath,
    traceparent: Option<Arc<str>>,
}

impl Caller {
    /// None for guests without bindings.
    pub(crate) fn of(module: &Inner, call: &Call, deadline: Instant) -> Option<Arc<Self>> {
        if module.spec.bindings.is_empty() {
            return None;
        }
        Some(Arc::new(Self {
            id: call.id,
            deadline,
            owner: call.owner.clone(),
            path: call.path.clone(),
            traceparent: call.traceparent.clone(),
        }))
    }
}

/// The bound imports of a module, to be linked.
pub(crate) struct Bound {
    /// As `name@version`.
    label: Arc<str>,
    spec: Arc<ModuleSpec>,
    parts: Arc<Parts>,
    bindings: Arc<dyn Bindings>,
}

/// A function of a bound import.
struct Function {
    module: Arc<Bound>,
    import: Arc<str>,
    name: String,
}

/// What ends a guest whose call through a binding came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BindingTrap(pub(crate) Fault);

impl Bound {
    pub(crate) fn new(module: &Inner, bindings: &Arc<dyn Bindings>) -> Arc<Self> {
        Arc::new(Self {
            label: module.id.to_string().into(),
            spec: Arc::clone(&module.spec),
            parts: Arc::clone(&module.parts),
            bindings: Arc::clone(bindings),
        })
    }

    /// Puts the functions of the bound imports into a linker of the module's own. With it comes how
    /// many times wasmtime's count of their parameters those can take.
    pub(crate) fn link(
        self: &Arc<Self>,
        linker: &mut Linker<GuestState>,
        component: &Component,
    ) -> Result<usize, LoadError> {
        let engine = component.engine();
        let ty = component.component_type();
        let mut heaviest = 1;
        // A binding takes the place of what the host serves.
        linker.allow_shadowing(true);
        for import in self.spec.bindings.keys() {
            let found = ty.get_import(engine, import).map(|import| import.ty);
            let Some(ComponentItem::ComponentInstance(instance)) = found else { continue };
            let shared: Arc<str> = import.as_str().into();
            let mut instance_linker = linker.instance(import).map_err(LoadError::Link)?;
            for (name, item) in instance.exports(engine) {
                let ComponentItem::ComponentFunc(function) = item.ty else { continue };
                let params = function.params().map(|(_, ty)| weight::of_type(&ty));
                heaviest = params.fold(heaviest, usize::max);
                let function = Arc::new(Function {
                    module: Arc::clone(self),
                    import: Arc::clone(&shared),
                    name: name.to_owned(),
                });
                instance_linker
                    .func_new_async(name, move |store, _, params, results| {
                        let function = Arc::clone(&function);
                        Box::new(async move { function.call(store, params, results).await })
                    })
                    .map_err(LoadError::Link)?;
            }
        }
        linker.allow_shadowing(false);
        Ok(heaviest)
    }

    /// The fault of a call through a binding.
    fn fault(&self, import: &str, target: Option<&Module>, problem: BindingProblem) -> Fault {
        let target = match (target, self.spec.bindings.get(import)) {
            (Some(target), _) => target.id().to_string(),
            (None, Some(binding)) => binding.to_string(),
            (None, None) => String::new(),
        };
        Fault::through(BindingHop { import: import.to_owned(), target }, problem)
    }
}
