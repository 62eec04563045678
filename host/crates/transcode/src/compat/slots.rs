//! Changes of a field's type.

use super::reach::Directions;
use crate::{
    lock::{Item, Slot},
    plan::Scalar,
};

/// What a change of type breaks; none if old stubs go on working.
pub(super) fn change(from: &Slot, to: &Slot, directions: Directions) -> Option<String> {
    if from == to {
        return None;
    }
    // What nobody can reach yet is still promised in both directions.
    let unreached = !directions.sent && !directions.received;
    let Directions { sent, received } =
        if unreached { Directions { sent: true, received: true } } else { directions };
    let effect = effect(from, to);
    let breaks = match effect {
        Effect::AcceptsMore { same_wire } => received && !same_wire,
        Effect::AcceptsLess => sent,
        Effect::Other => true,
    };
    breaks.then(|| format!("was {from} and is {to}"))
}

enum Effect {
    /// Everything that was valid still is. On the same wire type, old stubs hold new values too.
    AcceptsMore {
        same_wire: bool,
    },
    /// Some of what was valid no longer is.
    AcceptsLess,
    Other,
}

fn effect(from: &Slot, to: &Slot) -> Effect {
    match (from, to) {
        (Slot::One(a), Slot::One(b))
        | (Slot::Optional(a), Slot::Optional(b))
        | (Slot::List(a), Slot::List(b)) => items(a, b),
        (Slot::Map(key_a, a), Slot::Map(key_b, b)) if key_a == key_b => items(a, b),
        (Slot::Map(key_a, a), Slot::Map(key_b, b)) if a == b => scalars(*key_a, *key_b),
        // Messages and enums are always on the wire when they are required.
        (Slot::One(a), Slot::Optional(b)) if a == b && a.is_type() => {
            Effect::AcceptsMore { same_wire: false }
        }
        (Slot::Optional(a), Slot::One(b)) if a == b && a.is_type() => Effect::AcceptsLess,
        _ => Effect::Other,
    }
}

fn items(from: &Item, to: &Item) -> Effect {
    match (from, to) {
        (Item::Scalar(a), Item::Scalar(b)) => scalars(*a, *b),
        (a, b) if a == b => Effect::AcceptsMore { same_wire: true },
        _ => Effect::Other,
    }
}

fn scalars(from: Scalar, to: Scalar) -> Effect {
    let (Some((family, width)), Some((other, new_width))) = (family(from), family(to)) else {
        return if from == to { Effect::AcceptsMore { same_wire: true } } else { Effect::Other };
    };
    if family != other {
        Effect::Other
    } else if new_width < width {
        Effect::AcceptsLess
    } else {
        // 32 bits and less are one protobuf type, 64 are another.
        Effect::AcceptsMore { same_wire: (new_width > 32) == (width > 32) }
    }
}

/// Scalars that are written alike, and how much of that each accepts.
fn family(scalar: Scalar) -> Option<(Family, u8)> {
    match scalar {
        Scalar::U8 => Some((Family::Unsigned, 8)),
        Scalar::U16 => Some((Family::Unsigned, 16)),
        Scalar::U32 => Some((Family::Unsigned, 32)),
        Scalar::U64 => Some((Family::Unsigned, 64)),
        Scalar::S8 => Some((Family::Signed, 8)),
        Scalar::S16 => Some((Family::Signed, 16)),
        Scalar::S32 => Some((Family::Signed, 32)),
        Scalar::S64 => Some((Family::Signed, 64)),
        Scalar::Char => Some((Family::Text, 1)),
        Scalar::String => Some((Family::Text, 2)),
        Scalar::Bool | Scalar::F32 | Scalar::F64 => None,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Unsigned,
    Signed,
    Text,
}
