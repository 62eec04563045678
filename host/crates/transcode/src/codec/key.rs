//! The keys of maps: their order, and how they look in a path.

use std::cmp::Ordering;

use wasmtime::component::Val;

/// Characters of a key that a path shows.
const SHOWN: usize = 32;

/// Orders the keys of one map, which are all of one type.
pub(super) fn compare(left: &Val, right: &Val) -> Ordering {
    match (left, right) {
        (Val::Bool(left), Val::Bool(right)) => left.cmp(right),
        (Val::U8(left), Val::U8(right)) => left.cmp(right),
        (Val::U16(left), Val::U16(right)) => left.cmp(right),
        (Val::U32(left), Val::U32(right)) => left.cmp(right),
        (Val::U64(left), Val::U64(right)) => left.cmp(right),
        (Val::S8(left), Val::S8(right)) => left.cmp(right),
        (Val::S16(left), Val::S16(right)) => left.cmp(right),
        (Val::S32(left), Val::S32(right)) => left.cmp(right),
        (Val::S64(left), Val::S64(right)) => left.cmp(right),
        (Val::Char(left), Val::Char(right)) => left.cmp(right),
        (Val::String(left), Val::String(right)) => left.cmp(right),
        _ => Ordering::Equal,
    }
}

/// The key as it stands in a path, like `["k"]` or `[7]`; long ones are cut.
pub(super) fn subscript(key: &Val) -> String {
    match key {
        Val::Bool(key) => format!("[{key}]"),
        Val::U8(key) => format!("[{key}]"),
        Val::U16(key) => format!("[{key}]"),
        Val::U32(key) => format!("[{key}]"),
        Val::U64(key) => format!("[{key}]"),
        Val::S8(key) => format!("[{key}]"),
        Val::S16(key) => format!("[{key}]"),
        Val::S32(key) => format!("[{key}]"),
        Val::S64(key) => format!("[{key}]"),
        Val::Char(key) => format!("[{:?}]", key.to_string()),
        Val::String(key) => match key.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("[{:?}…]", key.get(..end).unwrap_or_default()),
            None => format!("[{key:?}]"),
        },
        _ => "[…]".to_owned(),
    }
}
