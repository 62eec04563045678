//! The items that travel: the same in every language, and made in no time worth mentioning.

/// Each text, and the name of each reading.
pub(crate) const TEXT: &str = "sixteen bytes ok";

/// What each reading measured, and each number of a list.
pub(crate) const VALUE: f64 = 20.25;

/// [`VALUE`] again.
pub(crate) const NUMBER: f32 = 20.25;

/// Each byte.
pub(crate) const BYTE: u8 = 0x5a;

pub(crate) fn bytes(count: u32) -> Vec<u8> {
    repeat(count, BYTE)
}

pub(crate) fn floats(count: u32) -> Vec<f32> {
    repeat(count, NUMBER)
}

pub(crate) fn strings(count: u32) -> Vec<String> {
    (0..count).map(|_| TEXT.to_owned()).collect()
}

fn repeat<T: Clone>(count: u32, item: T) -> Vec<T> {
    vec![item; usize::try_from(count).unwrap_or(0)]
}
