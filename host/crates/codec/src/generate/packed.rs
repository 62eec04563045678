//! Varints that stand packed, without a loop over the bytes of each: numbers of one byte by
//! sixteen, longer ones by loading eight bytes and moving their groups of seven bits together.

use super::{Generator, read::Reader};
use crate::asm::{Asm, I32, I64, Label, Local, V128, at};

/// The bits that say that a varint goes on.
const MORE: i64 = 0x8080_8080_8080_8080_u64.cast_signed();

/// How neighbours move together, first groups of 7 bits, then of 14, then of 28: how far, and the
/// bits of the lower ones.
const STEPS: [(i64, i64); 3] =
    [(1, 0x007f_007f_007f_007f), (2, 0x0000_3fff_0000_3fff), (4, 0x0000_0000_0fff_ffff)];

/// The locals for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word {
    bits: Local,
    last: Local,
}

impl Word {
    pub(super) fn new(asm: &mut Asm) -> Self {
        Self { bits: asm.local(I64), last: asm.local(I64) }
    }
}

impl Generator {
    /// Into the reader's `value`, as [`Generator::read_varint`].
    pub(super) fn read_packed(&mut self, asm: &mut Asm, reader: &Reader, word: Word) {
        let Word { bits, last } = word;
        let Reader { p, end, value, .. } = *reader;
        let done = asm.block();
        let slow = asm.block();
        asm.i().local_get(end).local_get(p).i32_sub().i32_const(8).i32_lt_u();
        asm.br_if(slow);
        // The lowest bit of these is in the byte that ends the varint.
        asm.i().local_get(p).i64_load(at(0)).local_tee(bits);
        asm.i().i64_const(-1).i64_xor().i64_const(MORE).i64_and().local_tee(last).i64_eqz();
        asm.br_if(slow);
        asm.i().local_get(p).local_get(last).i64_ctz().i32_wrap_i64();
        asm.i().i32_const(3).i32_shr_u().i32_add().i32_const(1).i32_add().local_set(p);
        asm.i().local_get(last).local_get(last).i64_const(1).i64_sub().i64_xor();
        asm.i().local_get(bits).i64_and().i64_const(!MORE).i64_and().local_set(value);
        for (shift, low) in STEPS {
            asm.i().local_get(value).i64_const(low).i64_and();
            asm.i().local_get(value).i64_const(shift).i64_shr_u();
            asm.i().i64_const(low << (7 * shift)).i64_and().i64_or().local_set(value);
        }
        asm.br(done);
        asm.end();
        self.read_varint(asm, reader);
        asm.end();
    }

    /// Writes a number before `w`, as [`Generator::put_number`]. There is room for ten bytes.
    pub(super) fn put_packed(&mut self, asm: &mut Asm, value: Local, w: Local, word: Word) {
        let Word { bits, last } = word;
        let done = asm.block();
        let other = asm.block();
        // Those of one byte, and those of more than eight.
        asm.i().local_get(value).i64_const(0x80).i64_sub();
        asm.i().i64_const((1 << 56) - 0x80).i64_ge_u();
        asm.br_if(other);
        asm.i().local_get(value).local_set(bits);
        for (shift, low) in STEPS.into_iter().rev() {
            asm.i().local_get(bits).i64_const(low).i64_and();
            asm.i().local_get(bits).i64_const(low << (7 * shift)).i64_and();
            asm.i().i64_const(shift).i64_shl().i64_or().local_set(bits);
        }
        // Eight bits for every byte of eight that is not needed.
        asm.i().local_get(bits).i64_clz().i64_const(0x38).i64_and().local_set(last);
        asm.i().local_get(w).i32_const(8).i32_sub().local_tee(w);
        asm.i().local_get(bits);
        asm.i().i64_const(MORE).local_get(last).i64_const(8).i64_add().i64_shr_u().i64_or();
        asm.i().local_get(last).i64_shl().i64_store(at(0));
        asm.i().local_get(w).local_get(last).i32_wrap_i64().i32_const(3).i32_shr_u();
        asm.i().i32_add().local_set(w);
        asm.br(done);
        asm.end();
        self.put_number(asm, value, w);
        asm.end();
    }

    /// Steps over varints that are well formed, whatever their values, from the beginning of one to
    /// that of another, and goes on at `next`. Does nothing where it is not sure of them.
    pub(super) fn skip_packed(
        asm: &mut Asm,
        reader: &Reader,
        (more, run): (Local, Local),
        next: Label,
    ) {
        asm.i().local_get(more).local_set(run);
        // Those of ten bytes and more go on for nine.
        for step in [1, 2, 4, 1] {
            asm.i().local_get(run).local_get(run).i32_const(step).i32_shr_u();
            asm.i().i32_and().local_set(run);
        }
        asm.i().local_get(run).i32_eqz();
        asm.if_();
        // The last one may go on beyond the sixteen bytes: it is looked at again.
        asm.i().local_get(reader.p).i32_const(16).i32_add();
        asm.i().local_get(more).i32_const(16).i32_shl().i32_const(-1).i32_xor().i32_clz();
        asm.i().i32_sub().local_set(reader.p);
        asm.br(next);
        asm.end();
    }
}

/// Whether the next sixteen bytes are there; then `more` has a bit for each that goes on. Goes to
/// `otherwise` where they are not.
pub(super) fn sixteen(asm: &mut Asm, reader: &Reader, more: Local, otherwise: Label) {
    asm.i().local_get(reader.end).local_get(reader.p).i32_sub().i32_const(16).i32_lt_u();
    asm.br_if(otherwise);
    asm.i().local_get(reader.p).v128_load(at(0)).i8x16_bitmask().local_set(more);
}

/// How numbers lie in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lane {
    pub(super) size: u32,
    pub(super) zigzag: bool,
    pub(super) boolean: bool,
}

/// Stores the next sixteen bytes, each of which is a number, and goes behind them.
pub(super) fn store_sixteen(asm: &mut Asm, reader: &Reader, to: Local, lane: Lane) {
    let bytes = asm.local(V128);
    asm.i().local_get(reader.p).v128_load(at(0)).local_set(bytes);
    if lane.zigzag {
        asm.i().local_get(bytes).i32_const(1).i8x16_shr_u();
        asm.i().local_get(bytes).i32_const(1).i8x16_splat().v128_and().i8x16_neg();
        asm.i().v128_xor().local_set(bytes);
    }
    if lane.boolean {
        asm.i().local_get(bytes).i32_const(0).i8x16_splat().i8x16_ne();
        asm.i().i32_const(1).i8x16_splat().v128_and().local_set(bytes);
    }
    store_widened(asm, bytes, to, (1, 0), lane);
    asm.add(reader.p, 16);
    asm.add(to, 16 * lane.size.cast_signed());
}

/// Stores sixteen bytes' worth of lanes of `width` bytes, as lanes of the size wanted.
fn store_widened(asm: &mut Asm, lanes: Local, to: Local, (width, offset): (u32, u32), lane: Lane) {
    if lane.size <= width {
        asm.i().local_get(to).local_get(lanes).v128_store(at(offset));
        return;
    }
    // As many bytes as half of the lanes become.
    let half = 8 / width * lane.size;
    for (high, offset) in [(false, offset), (true, offset + half)] {
        let wider = asm.local(V128);
        asm.i().local_get(lanes);
        // What was zigzag is signed; what is not has no highest bit.
        match (width, high) {
            (1, false) => asm.i().i16x8_extend_low_i8x16_s(),
            (1, true) => asm.i().i16x8_extend_high_i8x16_s(),
            (2, false) => asm.i().i32x4_extend_low_i16x8_s(),
            (2, true) => asm.i().i32x4_extend_high_i16x8_s(),
            (_, false) => asm.i().i64x2_extend_low_i32x4_s(),
            (_, true) => asm.i().i64x2_extend_high_i32x4_s(),
        };
        asm.i().local_set(wider);
        store_widened(asm, wider, to, (2 * width, offset), lane);
    }
}

/// The local for the bits of sixteen bytes, and one for runs of them.
pub(super) fn masks(asm: &mut Asm) -> (Local, Local) {
    (asm.local(I32), asm.local(I32))
}
