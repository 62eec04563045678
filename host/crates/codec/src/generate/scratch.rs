//! The codec's own block in the guest's memory, and what it asks the guest's `realloc` for.
//!
//! The block holds what a call returns, then a frame for values on their way into core values, then
//! a buffer: the request, and when that is read, the response from the buffer's end downwards. It
//! is kept for the instance's life. One that is too small is left where it is, for not every
//! guest's `realloc` takes anything back: they double, so all together are less than twice the last.
//! In a memory of the codec's own there is nothing else, and blocks follow each other.

use super::{Generator, Key, global};
use crate::asm::{Asm, I32, I64, Local, at};

/// The least that the block is.
const LEAST: i64 = 1024;

/// The most: addresses are of 32 bits.
const MOST: i64 = 0xffff_0000;

/// What any single number, tag or length takes at most, and some more.
const SMALL: i64 = 32;

impl Generator {
    /// `(align, size) -> address`: of the guest, held to what the canonical ABI holds it to.
    pub(super) fn alloc(&mut self) -> u32 {
        let reallocs = self.reallocs.clone();
        self.define(Key::Alloc, &[I32; 2], &[I32], |this, asm| {
            let (align, size) = (0, 1);
            let address = asm.local(I32);
            if reallocs.is_empty() {
                pages(asm, size);
                return;
            }
            let done = asm.block();
            for (which, realloc) in (0..).zip(&reallocs) {
                let last = super::count(reallocs.len()) == which + 1;
                let other = asm.block();
                if !last {
                    asm.i().global_get(global::REALLOC).i32_const(which.cast_signed()).i32_ne();
                    asm.br_if(other);
                }
                asm.i().i32_const(0).i32_const(0).local_get(align).local_get(size);
                asm.i().call(*realloc).local_set(address);
                asm.br(done);
                asm.end();
            }
            asm.end();
            asm.i().local_get(address).local_get(align).i32_const(1).i32_sub().i32_and();
            asm.trap_if();
            asm.i().local_get(address).i64_extend_i32_u();
            asm.i().local_get(size).i64_extend_i32_u().i64_add();
            this.beyond_memory(asm);
            asm.trap_if();
            asm.i().local_get(address);
        })
    }

    /// `(count, size, align) -> address` of a list's elements.
    pub(super) fn alloc_list(&mut self) -> u32 {
        let alloc = self.alloc();
        self.define(Key::AllocList, &[I32; 3], &[I32], |_, asm| {
            let bytes = asm.local(I64);
            asm.i().local_get(0).i64_extend_i32_u().local_get(1).i64_extend_i32_u().i64_mul();
            asm.i().local_tee(bytes).i64_const(0xffff_ffff).i64_gt_u();
            asm.trap_if();
            asm.i().local_get(2).local_get(bytes).i32_wrap_i64().call(alloc);
        })
    }

    /// Whether the end on the stack is beyond the memory's.
    pub(super) fn beyond_memory(&mut self, asm: &mut Asm) {
        asm.i().memory_size(0).i64_extend_i32_u().i64_const(16).i64_shl().i64_gt_u();
    }

    /// `(size)`: a new block, of that size at least.
    fn fresh(&mut self) -> u32 {
        let alloc = self.alloc();
        self.define(Key::Fresh, &[I64], &[], |_, asm| {
            let (size, twice) = (0, asm.local(I64));
            asm.i().global_get(global::SIZE).i64_extend_i32_u().i64_const(1).i64_shl();
            asm.i().local_set(twice);
            asm.i().local_get(size).i64_const(MOST).i64_gt_u();
            asm.trap_if();
            for least in [Some(twice), None] {
                asm.i().local_get(size);
                match least {
                    Some(local) => asm.i().local_get(local),
                    None => asm.i().i64_const(LEAST),
                };
                asm.i().i64_lt_u();
                asm.if_();
                match least {
                    Some(local) => asm.i().local_get(local),
                    None => asm.i().i64_const(LEAST),
                };
                asm.i().local_set(size);
                asm.end();
            }
            asm.i().i64_const(MOST).local_get(size).local_get(size).i64_const(MOST);
            asm.i().i64_gt_u().select().i64_const(-8).i64_and().local_set(size);
            asm.i().i32_const(8).local_get(size).i32_wrap_i64().call(alloc);
            asm.i().global_set(global::BLOCK);
            asm.i().local_get(size).i32_wrap_i64().global_set(global::SIZE);
        })
    }

    /// The codec's `realloc`, which the request is written to: it is asked for nothing else.
    pub(super) fn request_realloc(&mut self) -> u32 {
        let (fresh, header) = (self.fresh(), self.header());
        let (index, slot) = self.begin(&[I32; 4], &[I32]);
        let mut asm = Asm::new(4);
        let size = 3;
        let needed = asm.local(I64);
        asm.i().local_get(size).i64_extend_i32_u().i64_const(i64::from(header)).i64_add();
        asm.i().local_tee(needed).global_get(global::SIZE).i64_extend_i32_u().i64_gt_u();
        asm.if_();
        // There is always room for something small.
        asm.i().local_get(needed).i64_const(2 * SMALL).i64_add().call(fresh);
        asm.end();
        self.buffer(&mut asm);
        self.finish(slot, asm);
        index
    }

    /// Where the buffer begins.
    pub(super) fn buffer(&mut self, asm: &mut Asm) {
        let header = self.header().cast_signed();
        asm.i().global_get(global::BLOCK).i32_const(header).i32_add();
    }

    /// Where the buffer ends.
    pub(super) fn top(asm: &mut Asm) {
        asm.i().global_get(global::BLOCK).global_get(global::SIZE).i32_add();
    }

    /// `(w, needed) -> w`: makes room before what is written. What is written of a response that is
    /// over its limit is thrown away instead, and counted: it takes no more memory then.
    pub(super) fn grow(&mut self) -> u32 {
        let (fresh, header) = (self.fresh(), i64::from(self.header()));
        self.define(Key::Grow, &[I32, I64], &[I32], |_, asm| {
            let (w, needed) = (0, 1);
            let (used, total) = (asm.local(I32), asm.local(I64));
            Self::top(asm);
            asm.i().local_get(w).i32_sub().local_tee(used);
            asm.i().i64_extend_i32_u().local_get(needed).i64_add().local_set(total);
            // `needed` is a little more than what is going to be written.
            asm.i().global_get(global::DISCARDED).local_get(total).i64_add();
            asm.i().global_get(global::LIMIT).i64_extend_i32_u().i64_const(SMALL).i64_add();
            asm.i().i64_gt_u();
            asm.if_();
            asm.i().global_get(global::DISCARDED).local_get(used).i64_extend_i32_u().i64_add();
            asm.i().global_set(global::DISCARDED);
            Self::top(asm);
            asm.i().return_();
            asm.end();
            asm.i().local_get(total).i64_const(header + SMALL).i64_add().call(fresh);
            // The old block lies where it was.
            Self::top(asm);
            asm.i().local_get(used).i32_sub();
            asm.i().local_get(w).local_get(used).memory_copy(0, 0);
            Self::top(asm);
            asm.i().local_get(used).i32_sub();
        })
    }

    /// Makes room for a small number of bytes before `w`.
    pub(super) fn ensure(&mut self, asm: &mut Asm, w: Local, bytes: u32) {
        let grow = self.grow();
        asm.i().local_get(w);
        self.buffer(asm);
        asm.i().i32_sub().i32_const(bytes.cast_signed()).i32_lt_u();
        asm.if_();
        asm.i().local_get(w).i64_const(SMALL).call(grow).local_set(w);
        asm.end();
    }

    /// `(to, from, size)`, which do not overlap. Short ones need no call.
    pub(super) fn copy(&mut self) -> u32 {
        self.define(Key::Copy, &[I32; 3], &[], |_, asm| {
            let (to, from, size) = (0, 1, 2);
            let (index, last) = (asm.local(I32), asm.local(I32));
            asm.i().local_get(size).i32_const(64).i32_gt_u();
            asm.if_();
            asm.i().local_get(to).local_get(from).local_get(size).memory_copy(0, 0).return_();
            asm.end();
            asm.i().local_get(size).i32_const(8).i32_ge_u();
            asm.if_();
            asm.i().local_get(size).i32_const(8).i32_sub().local_set(last);
            let next = asm.loop_();
            asm.i().local_get(to).local_get(index).i32_add();
            asm.i().local_get(from).local_get(index).i32_add().i64_load(at(0)).i64_store(at(0));
            asm.add(index, 8);
            asm.i().local_get(index).local_get(last).i32_lt_u();
            asm.br_if(next);
            asm.end();
            asm.i().local_get(to).local_get(last).i32_add();
            asm.i().local_get(from).local_get(last).i32_add().i64_load(at(0)).i64_store(at(0));
            asm.i().return_();
            asm.end();
            let short = asm.loop_();
            asm.i().local_get(index).local_get(size).i32_lt_u();
            asm.if_();
            asm.i().local_get(to).local_get(index).i32_add();
            asm.i().local_get(from).local_get(index).i32_add();
            asm.i().i32_load8_u(at(0)).i32_store8(at(0));
            asm.add(index, 1);
            asm.br(short);
            asm.end();
            asm.end();
        })
    }
}

/// Leaves the address of so many bytes behind all that the codec's own memory has.
fn pages(asm: &mut Asm, size: Local) {
    let address = asm.local(I32);
    asm.i().local_get(size).i64_extend_i32_u().i64_const(0xffff).i64_add();
    asm.i().i64_const(16).i64_shr_u().i32_wrap_i64().memory_grow(0);
    asm.i().local_tee(address).i32_const(-1).i32_eq();
    asm.trap_if();
    asm.i().local_get(address).i32_const(16).i32_shl();
}
