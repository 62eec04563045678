//! UTF-8: checked on the way in and on the way out.

use super::{Generator, Key};
use crate::asm::{Asm, I32, Label, Local, at};

impl Generator {
    /// `(p, end) -> ok`.
    pub(super) fn utf8(&mut self) -> u32 {
        self.define(Key::Utf8, &[I32; 2], &[I32], |_, asm| {
            let (p, end) = (0, 1);
            let (byte, mask) = (asm.local(I32), asm.local(I32));
            let bad = asm.block();
            let next = asm.loop_();
            // Sixteen at a time, to the first that is not ASCII.
            asm.i().local_get(end).local_get(p).i32_sub().i32_const(16).i32_ge_u();
            asm.if_();
            asm.i().local_get(p).v128_load(at(0)).i8x16_bitmask().local_tee(mask).i32_eqz();
            asm.if_();
            asm.add(p, 16);
            asm.br(next);
            asm.end();
            asm.i().local_get(p).local_get(mask).i32_ctz().i32_add().local_set(p);
            asm.end();
            asm.i().local_get(p).local_get(end).i32_ge_u();
            asm.if_();
            asm.i().i32_const(1).return_();
            asm.end();
            asm.i().local_get(p).i32_load8_u(at(0)).local_tee(byte).i32_const(0x80).i32_lt_u();
            asm.if_();
            asm.add(p, 1);
            asm.br(next);
            asm.end();
            sequence(asm, Sequence { p, end, byte, bad, next });
            asm.end();
            asm.end();
            asm.i().i32_const(0);
        })
    }

    /// `(p, end) -> code`, or -1 where there is not exactly one character.
    pub(super) fn one_char(&mut self) -> u32 {
        let utf8 = self.utf8();
        self.define(Key::Char, &[I32; 2], &[I32], |_, asm| {
            let (p, end) = (0, 1);
            let (size, byte) = (asm.local(I32), asm.local(I32));
            let bad = asm.block();
            asm.i().local_get(end).local_get(p).i32_sub().local_tee(size);
            // Between 1 and 4 bytes.
            asm.i().i32_const(1).i32_sub().i32_const(4).i32_ge_u();
            asm.br_if(bad);
            asm.i().local_get(p).local_get(end).call(utf8).i32_eqz();
            asm.br_if(bad);
            asm.i().local_get(p).i32_load8_u(at(0)).local_set(byte);
            for (bytes, first, mask) in [(1, 0x80, 0x7f), (2, 0xe0, 0x1f), (3, 0xf0, 0x0f)] {
                asm.i().local_get(byte).i32_const(first).i32_lt_u();
                asm.if_();
                code(asm, (p, size, byte), (bytes, mask), bad);
                asm.end();
            }
            code(asm, (p, size, byte), (4, 0x07), bad);
            asm.end();
            asm.i().i32_const(-1);
        })
    }
}

/// Returns the code of a character of so many bytes, if it is all there is.
fn code(asm: &mut Asm, (p, size, byte): (Local, Local, Local), of: (u32, i32), bad: Label) {
    let (bytes, mask) = of;
    asm.i().local_get(size).i32_const(bytes.cast_signed()).i32_ne();
    asm.br_if(bad);
    asm.i().local_get(byte).i32_const(mask).i32_and();
    for offset in 1..bytes {
        asm.i().i32_const(6).i32_shl();
        asm.i().local_get(p).i32_load8_u(at(offset)).i32_const(0x3f).i32_and().i32_or();
    }
    asm.i().return_();
}

struct Sequence {
    p: Local,
    end: Local,
    byte: Local,
    bad: Label,
    next: Label,
}

/// A character of several bytes.
fn sequence(asm: &mut Asm, to: Sequence) {
    let Sequence { p, end, byte, bad, next } = to;
    asm.i().local_get(byte).i32_const(0xc2).i32_lt_u();
    asm.br_if(bad);
    for (bytes, first) in [(2, 0xe0), (3, 0xf0), (4, 0xf5)] {
        asm.i().local_get(byte).i32_const(first).i32_lt_u();
        asm.if_();
        asm.i().local_get(end).local_get(p).i32_sub().i32_const(bytes).i32_lt_u();
        asm.br_if(bad);
        for offset in 1..bytes.cast_unsigned() {
            asm.i().local_get(p).i32_load8_u(at(offset)).i32_const(0xc0).i32_and();
            asm.i().i32_const(0x80).i32_ne();
            asm.br_if(bad);
        }
        // What could be written shorter, surrogates, and what is beyond the last character.
        let bounds: &[(i32, i32, i32)] = match bytes {
            3 => &[(0xe0, 0xa0, 0xbf), (0xed, 0x80, 0x9f)],
            4 => &[(0xf0, 0x90, 0xbf), (0xf4, 0x80, 0x8f)],
            _ => &[],
        };
        for (lead, least, most) in bounds {
            asm.i().local_get(byte).i32_const(*lead).i32_eq();
            asm.i().local_get(p).i32_load8_u(at(1)).i32_const(*least).i32_sub();
            asm.i().i32_const(most - least).i32_gt_u().i32_and();
            asm.br_if(bad);
        }
        asm.add(p, bytes);
        asm.br(next);
        asm.end();
    }
    asm.br(bad);
}
