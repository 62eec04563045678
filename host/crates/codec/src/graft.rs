//! A component with its codec: sections at its end, and none changed.

use std::sync::Arc;

use roadstead_transcode::{Action, MethodPlan};
use wasmparser::{BinaryReaderError, Validator, WasmFeatures};

use crate::{
    Unserved,
    append::append,
    export_names,
    generate::Served,
    outline::{Lift, Outline},
    scratch::Scratch,
    typed::Typed,
    types::Types,
};

/// A component with its codec.
#[derive(Debug)]
pub struct Graft {
    /// None where no method can be served: the component stays as it is.
    pub component: Option<Vec<u8>>,
    /// For every plan, in their order: why it is not served, if it is not.
    pub methods: Vec<Option<Unserved>>,
}

#[derive(Debug, thiserror::Error)]
pub enum GraftError {
    #[error("the component does not read")]
    Component(#[source] BinaryReaderError),
    /// A fault of the codec's.
    #[error("the component with its codec is not valid")]
    Invalid(#[source] BinaryReaderError),
}

/// Makes the codec of a component whose methods these are. The same component and plans always
/// give the same bytes.
///
/// # Errors
/// [`GraftError`]; the component serves as it is then.
pub fn graft(component: &[u8], plans: &[Arc<MethodPlan>]) -> Result<Graft, GraftError> {
    let outline = Outline::read(component).map_err(GraftError::Component)?;
    let lifts: Vec<Result<&Lift, Unserved>> =
        plans.iter().map(|plan| outline.lift(&plan.export)).collect();
    let name = export_names().find(|name| !outline.has_export(name)).ok_or(Unserved::Names);
    let typed = Typed::read(component).map_err(GraftError::Component)?;
    let known: Vec<&Lift> = lifts.iter().filter_map(|lift| lift.ok()).collect();
    let scratch = Scratch::of(&known, &outline, &typed);
    let mut types = Types::default();
    let mut served = Vec::new();
    let mut methods = Vec::new();
    for (plan, lift) in plans.iter().zip(&lifts) {
        let lift = match (plan.action, *lift) {
            (Action::Drop, _) => Err(Unserved::Handle),
            (Action::Call, Ok(_)) if typed.gives_future(&plan.export) => Err(Unserved::Async),
            (Action::Call, lift) => lift,
        };
        let method = serve(&mut types, plan, lift, scratch, name.as_ref().err().copied());
        methods.push(method.as_ref().err().copied());
        if let Ok(method) = method {
            served.push((&plan.export, method));
        }
    }
    let (Ok(name), false) = (name, served.is_empty()) else {
        return Ok(Graft { component: None, methods });
    };
    let mut grafted = component.to_vec();
    append(&mut grafted, &outline, scratch, &name, served);
    Validator::new_with_features(features()).validate_all(&grafted).map_err(GraftError::Invalid)?;
    Ok(Graft { component: Some(grafted), methods })
}

/// For each method, in words why the codec would not serve it, if it would not.
pub fn unserved(component: &[u8], plans: &[Arc<MethodPlan>]) -> Vec<Option<String>> {
    match graft(component, plans) {
        Ok(graft) => graft.methods.into_iter().map(|why| why.map(|why| why.to_string())).collect(),
        Err(error) => vec![Some(error.to_string()); plans.len()],
    }
}

/// All that any engine here has; what a component may use was judged before.
fn features() -> WasmFeatures {
    WasmFeatures::all()
}

fn serve<'a>(
    types: &mut Types,
    plan: &MethodPlan,
    lift: Result<&'a Lift, Unserved>,
    scratch: Scratch,
    unnamed: Option<Unserved>,
) -> Result<Served<'a>, Unserved> {
    let lift = lift?;
    if let Some(why) = unnamed {
        return Err(why);
    }
    let signature = types.signature(plan)?;
    scratch.serves(lift, &signature)?;
    Ok(Served { lift, signature })
}
