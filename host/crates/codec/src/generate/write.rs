//! Writes a response from its end to its beginning: what was written begins at `w`.

use super::{Generator, Key, global, read::varint_bytes};
use crate::asm::{Asm, I32, I64, Local, at};

impl Generator {
    /// `(value, w) -> w`. There is room for ten bytes.
    fn put_varint(&mut self) -> u32 {
        self.define(Key::PutVarint, &[I64, I32], &[I32], |_, asm| {
            let (value, w) = (0, 1);
            let p = asm.local(I32);
            // A byte for every seven bits, and one for none.
            asm.i().local_get(w);
            asm.i().i64_const(63).local_get(value).i64_const(1).i64_or().i64_clz().i64_sub();
            asm.i().i32_wrap_i64().i32_const(7).i32_div_u().i32_const(1).i32_add();
            asm.i().i32_sub().local_tee(w).local_set(p);
            let next = asm.loop_();
            asm.i().local_get(value).i64_const(0x80).i64_ge_u();
            asm.if_();
            asm.i().local_get(p).local_get(value).i64_const(0x80).i64_or().i64_store8(at(0));
            asm.i().local_get(value).i64_const(7).i64_shr_u().local_set(value);
            asm.add(p, 1);
            asm.br(next);
            asm.end();
            asm.end();
            asm.i().local_get(p).local_get(value).i64_store8(at(0));
            asm.i().local_get(w);
        })
    }

    /// Writes a number that there is room for.
    pub(super) fn put_number(&mut self, asm: &mut Asm, value: Local, w: Local) {
        let put = self.put_varint();
        asm.i().local_get(value).i64_const(0x80).i64_lt_u();
        asm.if_();
        asm.i().local_get(w).i32_const(1).i32_sub().local_tee(w);
        asm.i().local_get(value).i64_store8(at(0));
        asm.else_();
        asm.i().local_get(value).local_get(w).call(put).local_set(w);
        asm.end();
    }

    /// Writes a tag that there is room for.
    pub(super) fn put_tag(asm: &mut Asm, tag: u32, w: Local) {
        let bytes = varint_bytes(tag);
        asm.add(w, -i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        for (offset, byte) in (0..).zip(bytes) {
            asm.i().local_get(w).i32_const(i32::from(byte)).i32_store8(at(offset));
        }
    }

    /// Leaves how much is written.
    pub(super) fn written(asm: &mut Asm, w: Local) {
        Self::top(asm);
        asm.i().local_get(w).i32_sub();
    }

    /// Writes how much was written since `mark` of it was, and its tag.
    pub(super) fn put_length(
        &mut self,
        asm: &mut Asm,
        (number, mark): (u32, Local),
        value: Local,
        w: Local,
    ) {
        Self::written(asm, w);
        asm.i().local_get(mark).i32_sub().i64_extend_i32_u().local_set(value);
        self.ensure(asm, w, 16);
        self.put_number(asm, value, w);
        Self::put_tag(asm, number << 3 | 2, w);
    }

    /// `(from, size)`: traps unless all of it lies in memory.
    pub(super) fn bounds(&mut self) -> u32 {
        self.define(Key::Bounds, &[I32, I64], &[], |this, asm| {
            asm.i().local_get(0).i64_extend_i32_u().local_get(1).i64_add();
            this.beyond_memory(asm);
            asm.trap_if();
        })
    }

    /// `(from, size, w) -> w`: bytes of the guest's, wherever it says they are.
    pub(super) fn put(&mut self) -> u32 {
        let (bounds, grow, copy) = (self.bounds(), self.grow(), self.copy());
        self.define(Key::Put, &[I32; 3], &[I32], |this, asm| {
            let (from, size, w) = (0, 1, 2);
            let needed = asm.local(I64);
            asm.i().local_get(from).local_get(size).i64_extend_i32_u().call(bounds);
            asm.i().local_get(size).i64_extend_i32_u().i64_const(32).i64_add().local_set(needed);
            let lacks = |this: &mut Self, asm: &mut Asm| {
                asm.i().local_get(w);
                this.buffer(asm);
                asm.i().i32_sub().i64_extend_i32_u().local_get(needed).i64_lt_u();
            };
            lacks(this, asm);
            asm.if_();
            asm.i().local_get(w).local_get(needed).call(grow).local_set(w);
            // Only where the response is over its limit.
            lacks(this, asm);
            asm.if_();
            asm.i().global_get(global::DISCARDED).local_get(size).i64_extend_i32_u().i64_add();
            asm.i().global_set(global::DISCARDED);
            asm.i().local_get(w).return_();
            asm.end();
            asm.end();
            asm.i().local_get(w).local_get(size).i32_sub().local_tee(w);
            asm.i().local_get(from).local_get(size).call(copy);
            asm.i().local_get(w);
        })
    }

    /// As [`Generator::put`], for text.
    pub(super) fn put_text(&mut self) -> u32 {
        let (bounds, put, utf8) = (self.bounds(), self.put(), self.utf8());
        self.define(Key::PutText, &[I32; 3], &[I32], |_, asm| {
            let (from, size, w) = (0, 1, 2);
            asm.i().local_get(from).local_get(size).i64_extend_i32_u().call(bounds);
            asm.i().local_get(from).local_get(from).local_get(size).i32_add().call(utf8).i32_eqz();
            asm.trap_if();
            asm.i().local_get(from).local_get(size).local_get(w).call(put);
        })
    }

    /// `(code, w) -> w`. There is room for four bytes.
    pub(super) fn put_char(&mut self) -> u32 {
        self.define(Key::PutChar, &[I32; 2], &[I32], |_, asm| {
            let (code, w) = (0, 1);
            // A surrogate, or beyond the last.
            asm.i().local_get(code).i32_const(0xd800).i32_sub().i32_const(0x800).i32_lt_u();
            asm.i().local_get(code).i32_const(0x10_ffff).i32_gt_u().i32_or();
            asm.trap_if();
            asm.i().local_get(code).i32_const(0x80).i32_lt_u();
            asm.if_();
            asm.i().local_get(w).i32_const(1).i32_sub().local_tee(w);
            asm.i().local_get(code).i32_store8(at(0)).local_get(w).return_();
            asm.end();
            for (bytes, beyond, lead) in [(2, 0x800, 0xc0), (3, 0x1_0000, 0xe0), (4, -1, 0xf0)] {
                asm.i().local_get(code).i32_const(beyond).i32_lt_u();
                asm.if_();
                asm.add(w, -bytes);
                for offset in 0..bytes {
                    let shift = 6 * (bytes - 1 - offset);
                    let (mask, mark) = if offset == 0 { (0x1f, lead) } else { (0x3f, 0x80) };
                    asm.i().local_get(w).local_get(code).i32_const(shift).i32_shr_u();
                    asm.i().i32_const(mask).i32_and().i32_const(mark).i32_or();
                    asm.i().i32_store8(at(offset.cast_unsigned()));
                }
                asm.i().local_get(w).return_();
                asm.end();
            }
            asm.i().unreachable();
        })
    }
}
