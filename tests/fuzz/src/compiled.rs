//! The compiled codec: a type, a real guest that echoes it, and a message that may or may not be one
//! of its.

use arbitrary::Unstructured;

use crate::{
    guest::{compare, echo},
    make,
};

/// The first bytes choose a type, the others are the message.
///
/// # Panics
/// Where the compiled codec and the dynamic one disagree.
pub fn compiled(data: &[u8]) {
    let mut chosen = Unstructured::new(data);
    let Ok(ty) = make::ty(&mut chosen) else { return };
    // As in the inputs of the dynamic codec.
    chosen.arbitrary::<u16>().unwrap_or_default();
    let guest = echo(&ty);
    if guest.unserved == [None] {
        compare(&guest, chosen.take_rest()).unwrap();
    }
}
