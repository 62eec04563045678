//! The loop over the fields of a message, which both passes over a request share.

use super::{Generator, map, read::Reader};
use crate::asm::{Asm, I32, Label};

impl Generator {
    /// Reads field after field to the end. `known` writes what is done with one of those numbers,
    /// from behind its tag; others are stepped over.
    pub(super) fn walk(
        &mut self,
        asm: &mut Asm,
        reader: &Reader,
        numbers: &[u32],
        mut known: impl FnMut(&mut Self, &mut Asm, usize),
    ) {
        let skip = self.skip();
        let number = asm.local(I32);
        let done = asm.block();
        let next = asm.loop_();
        asm.i().local_get(reader.p).local_get(reader.end).i32_ge_u();
        asm.br_if(done);
        self.read_tag(asm, reader);
        let unknown = asm.block();
        // The innermost is the first field's.
        let mut labels: Vec<Label> = numbers.iter().map(|_| asm.block()).collect();
        labels.reverse();
        asm.i().local_get(reader.tag).i32_const(3).i32_shr_u().local_set(number);
        map::positions(asm, number, numbers);
        asm.br_table(&labels, unknown);
        for position in 0..numbers.len() {
            asm.end();
            known(self, asm, position);
            asm.br(next);
        }
        asm.end();
        asm.i().local_get(reader.p).local_get(reader.end).local_get(reader.tag);
        asm.i().call(skip).local_tee(reader.p).i32_eqz();
        asm.br_if(reader.bad);
        asm.br(next);
        asm.end();
        asm.end();
    }
}

/// Refuses a known field of another wire type than its own.
pub(super) fn expect(asm: &mut Asm, reader: &Reader, wire_type: u32) {
    asm.i().local_get(reader.tag).i32_const(7).i32_and();
    asm.i().i32_const(wire_type.cast_signed()).i32_ne();
    asm.br_if(reader.bad);
}
