//! Every NaN that crosses the border becomes the canonical one.

use super::{Generator, Key};
use crate::asm::{Asm, I32, Local, at};

pub(super) const NAN_32: i32 = 0x7fc0_0000;
pub(super) const NAN_64: i64 = 0x7ff8_0000_0000_0000;

impl Generator {
    /// `(p, end)`, in place.
    pub(super) fn canonical_32(&mut self) -> u32 {
        self.define(Key::Canonical32, &[I32; 2], &[], |_, asm| {
            let (p, end) = (0, 1);
            let next = asm.loop_();
            asm.i().local_get(end).local_get(p).i32_sub().i32_const(16).i32_ge_u();
            asm.if_();
            asm.i().local_get(p).v128_load(at(0)).local_get(p).v128_load(at(0));
            asm.i().f32x4_ne().v128_any_true().i32_eqz();
            asm.if_();
            asm.add(p, 16);
            asm.br(next);
            asm.end();
            asm.end();
            asm.i().local_get(p).local_get(end).i32_lt_u();
            asm.if_();
            asm.i().local_get(p).f32_load(at(0)).local_get(p).f32_load(at(0)).f32_ne();
            asm.if_();
            asm.i().local_get(p).i32_const(NAN_32).i32_store(at(0));
            asm.end();
            asm.add(p, 4);
            asm.br(next);
            asm.end();
            asm.end();
        })
    }

    /// `(p, end)`, in place.
    pub(super) fn canonical_64(&mut self) -> u32 {
        self.define(Key::Canonical64, &[I32; 2], &[], |_, asm| {
            let (p, end) = (0, 1);
            let next = asm.loop_();
            asm.i().local_get(p).local_get(end).i32_lt_u();
            asm.if_();
            asm.i().local_get(p).f64_load(at(0)).local_get(p).f64_load(at(0)).f64_ne();
            asm.if_();
            asm.i().local_get(p).i64_const(NAN_64).i64_store(at(0));
            asm.end();
            asm.add(p, 8);
            asm.br(next);
            asm.end();
            asm.end();
        })
    }
}

/// Leaves the bits of the float at an address.
pub(super) fn bits(asm: &mut Asm, double: bool, base: Local, offset: u32) {
    let at = at(offset);
    if double {
        asm.i().i64_const(NAN_64).local_get(base).i64_load(at);
        asm.i().local_get(base).f64_load(at).local_get(base).f64_load(at).f64_ne().select();
    } else {
        asm.i().i32_const(NAN_32).local_get(base).i32_load(at);
        asm.i().local_get(base).f32_load(at).local_get(base).f32_load(at).f32_ne().select();
    }
}
