//! Where requests and responses stand: in the guest's memory, or in one of the codec's own.

use std::rc::Rc;

use roadstead_transcode::Scalar;

use crate::{
    Unserved,
    outline::{Lift, Outline},
    typed::Typed,
    types::{FieldTy, Kind, MessageTy, Signature, Ty},
};

/// The names by which toolchains export them for the canonical ABI.
const MEMORY: &str = "memory";
const REALLOC: &str = "cabi_realloc";

/// A core item at the component's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    Known(u32),
    /// What a core instance exports by this name.
    Export(u32, &'static str),
}

/// Where the codec's own block is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scratch {
    /// In the guest's memory, by the guest's `realloc`.
    Guest { memory: Item, realloc: Item },
    /// In a memory of the codec's own, for a guest that shows none: what it takes and gives are core
    /// values then.
    Own,
}

impl Scratch {
    /// What some lifts name together, else what the instance behind them exports.
    pub(crate) fn of(lifts: &[&Lift], outline: &Outline, typed: &Typed) -> Self {
        let both = lifts.iter().find_map(|lift| Some((lift.memory?, lift.realloc?)));
        if let Some((memory, realloc)) = both {
            return Self::Guest { memory: Item::Known(memory), realloc: Item::Known(realloc) };
        }
        let memory = lifts.iter().find_map(|lift| lift.memory);
        let instance = match memory {
            Some(memory) => outline.instance_of_memory(memory),
            None => lifts.first().and_then(|lift| outline.instance_of_function(lift.function)),
        };
        let Some(instance) = instance.filter(|instance| typed.has_realloc(*instance, REALLOC))
        else {
            return Self::Own;
        };
        let memory = match memory {
            Some(memory) => Item::Known(memory),
            None if typed.has_memory(instance, MEMORY) => Item::Export(instance, MEMORY),
            None => return Self::Own,
        };
        Self::Guest { memory, realloc: Item::Export(instance, REALLOC) }
    }

    /// Whether a method can be served from here.
    pub(crate) fn serves(self, lift: &Lift, signature: &Signature) -> Result<(), Unserved> {
        match (self, lift.memory) {
            (Self::Guest { memory, .. }, Some(own)) if memory != Item::Known(own) => {
                Err(Unserved::Memory)
            }
            (Self::Guest { .. }, _) => Ok(()),
            (Self::Own, _) if needs_memory(signature) => Err(Unserved::NoMemory),
            (Self::Own, _) => Ok(()),
        }
    }
}

/// Whether parameters or result travel through memory.
fn needs_memory(signature: &Signature) -> bool {
    let Signature { request, response } = signature;
    let single = |message: &Rc<MessageTy>| matches!(message.flat.as_deref(), Some([_]));
    request.flat.is_none() || points(request) || !response.message().is_none_or(single)
}

/// Whether a text or a list is in a message.
fn points(message: &MessageTy) -> bool {
    let member = |ty: &Ty| match ty {
        Ty::Scalar(Scalar::String) | Ty::Bytes => true,
        Ty::Scalar(_) | Ty::Enum(_) => false,
        Ty::Message(message) => points(message),
    };
    match &message.kind {
        Kind::Struct(fields) => fields.iter().any(|field| match &field.ty {
            FieldTy::Singular(ty) | FieldTy::Optional(ty) => member(ty),
            FieldTy::Repeated(_) => true,
        }),
        Kind::Flags(_) => false,
        Kind::Oneof(oneof) => {
            oneof.cases.iter().any(|case| case.payload.as_ref().is_some_and(member))
        }
    }
}
