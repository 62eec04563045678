//! Numbers that stand packed: counted, checked, unpacked into a list and packed again.

use std::rc::Rc;

use roadstead_transcode::Scalar;

use super::{
    Generator, Key, map,
    packed::{Lane, Word, masks, sixteen, store_sixteen},
    read::Reader,
};
use crate::{
    asm::{Asm, I32, I64, Local, at},
    types::{EnumTy, Ty},
};

/// How an integer lies in memory and on the wire.
fn integer(scalar: Scalar) -> Lane {
    let (size, zigzag) = match scalar {
        Scalar::Bool | Scalar::U8 => (1, false),
        Scalar::S8 => (1, true),
        Scalar::U16 => (2, false),
        Scalar::S16 => (2, true),
        Scalar::S32 => (4, true),
        Scalar::U64 => (8, false),
        Scalar::S64 => (8, true),
        _ => (4, false),
    };
    Lane { size, zigzag, boolean: scalar == Scalar::Bool }
}

/// The largest number on the wire whose lower half fits, where not all do. Zigzag numbers of a
/// width are as many as unsigned ones.
pub(super) fn most(scalar: Scalar) -> Option<i32> {
    match scalar {
        Scalar::U8 | Scalar::S8 => Some(0xff),
        Scalar::U16 | Scalar::S16 => Some(0xffff),
        _ => None,
    }
}

impl Generator {
    /// `(p, end) -> count` of varints.
    pub(super) fn count(&mut self) -> u32 {
        self.define(Key::Count, &[I32; 2], &[I32], |_, asm| {
            let (p, end) = (0, 1);
            let count = asm.local(I32);
            let next = asm.loop_();
            asm.i().local_get(end).local_get(p).i32_sub().i32_const(16).i32_ge_u();
            asm.if_();
            asm.i().local_get(count).i32_const(16).i32_add();
            asm.i().local_get(p).v128_load(at(0)).i8x16_bitmask().i32_popcnt().i32_sub();
            asm.i().local_set(count);
            asm.add(p, 16);
            asm.br(next);
            asm.end();
            asm.i().local_get(p).local_get(end).i32_lt_u();
            asm.if_();
            asm.i().local_get(count).local_get(p).i32_load8_u(at(0)).i32_const(0x80).i32_lt_u();
            asm.i().i32_add().local_set(count);
            asm.add(p, 1);
            asm.br(next);
            asm.end();
            asm.end();
            asm.i().local_get(count);
        })
    }

    /// `(p, end, most) -> ok`: whether there are varints alone, none of them over `most`.
    pub(super) fn packed(&mut self) -> u32 {
        self.define(Key::Packed, &[I32; 3], &[I32], |this, asm| {
            let most = 2;
            let bad = asm.block();
            let reader = Reader::new(asm, 0, 1, bad);
            let (more, run) = masks(asm);
            let word = Word::new(asm);
            let next = asm.loop_();
            let single = asm.block();
            sixteen(asm, &reader, more, single);
            asm.i().local_get(more).i32_eqz();
            asm.if_();
            asm.add(reader.p, 16);
            asm.br(next);
            asm.end();
            asm.i().local_get(most).i32_const(-1).i32_ne();
            asm.br_if(single);
            Self::skip_packed(asm, &reader, (more, run), next);
            asm.end();
            asm.i().local_get(reader.p).local_get(reader.end).i32_ge_u();
            asm.if_();
            asm.i().i32_const(1).return_();
            asm.end();
            this.read_packed(asm, &reader, word);
            asm.i().local_get(reader.value).i32_wrap_i64().local_get(most).i32_gt_u();
            asm.br_if(bad);
            asm.br(next);
            asm.end();
            asm.end();
            asm.i().i32_const(0);
        })
    }

    /// `(p, end) -> ok`: whether there are numbers of the enum alone.
    pub(super) fn packed_enums(&mut self, of: &EnumTy) -> u32 {
        self.define(Key::CheckEnums(of.id), &[I32; 2], &[I32], |this, asm| {
            let number = asm.local(I32);
            let bad = asm.block();
            let reader = Reader::new(asm, 0, 1, bad);
            let next = asm.loop_();
            asm.i().local_get(reader.p).local_get(reader.end).i32_ge_u();
            asm.if_();
            asm.i().i32_const(1).return_();
            asm.end();
            this.read_varint(asm, &reader);
            asm.i().local_get(reader.value).i32_wrap_i64().local_set(number);
            map::positions(asm, number, &of.numbers);
            asm.i().i32_const(-1).i32_eq();
            asm.br_if(bad);
            asm.br(next);
            asm.end();
            asm.end();
            asm.i().i32_const(0);
        })
    }

    /// `(p, end, to)`: stores one number after the other.
    pub(super) fn unpack(&mut self, ty: &Ty) -> u32 {
        let (key, enumeration) = match ty {
            Ty::Enum(of) => (Key::UnpackEnums(of.id), Some(Rc::clone(of))),
            Ty::Scalar(scalar) => (Key::Unpack(*scalar), None),
            Ty::Bytes | Ty::Message(_) => (Key::Unpack(Scalar::U8), None),
        };
        let size = ty.layout().size;
        self.define(key, &[I32; 3], &[], |this, asm| {
            let to = 2;
            let number = asm.local(I32);
            let (more, _) = masks(asm);
            let word = Word::new(asm);
            let bad = asm.block();
            let reader = Reader::new(asm, 0, 1, bad);
            let next = asm.loop_();
            if let Key::Unpack(scalar) = key {
                let single = asm.block();
                sixteen(asm, &reader, more, single);
                asm.i().local_get(more);
                asm.br_if(single);
                store_sixteen(asm, &reader, to, integer(scalar));
                asm.br(next);
                asm.end();
            }
            asm.i().local_get(reader.p).local_get(reader.end).i32_ge_u();
            asm.if_();
            asm.i().return_();
            asm.end();
            this.read_packed(asm, &reader, word);
            match (&enumeration, key) {
                (Some(of), _) => {
                    asm.i().local_get(reader.value).i32_wrap_i64().local_set(number);
                    asm.i().local_get(to);
                    map::positions(asm, number, &of.numbers);
                    store(asm, of.size, 0);
                }
                (None, Key::Unpack(scalar)) => store_wire(asm, scalar, reader.value, to, 0),
                _ => {}
            }
            asm.add(to, size.cast_signed());
            asm.br(next);
            asm.end();
            asm.end();
            asm.i().unreachable();
        })
    }

    /// `(from, count, w) -> w`: writes the list's numbers, the last first.
    pub(super) fn pack(&mut self, ty: &Ty) -> u32 {
        let (key, size) = match ty {
            Ty::Enum(of) => (Key::PackEnums(of.id), of.size),
            Ty::Scalar(scalar) => (Key::Pack(*scalar), ty.layout().size),
            Ty::Bytes | Ty::Message(_) => (Key::Pack(Scalar::U8), 1),
        };
        let enumeration = if let Ty::Enum(of) = ty { Some(Rc::clone(of)) } else { None };
        self.define(key, &[I32; 3], &[I32], |this, asm| {
            let (from, count, w) = (0, 1, 2);
            let (p, value, number) = (asm.local(I32), asm.local(I64), asm.local(I32));
            let word = Word::new(asm);
            asm.i().local_get(from).local_get(count).i32_const(size.cast_signed()).i32_mul();
            asm.i().i32_add().local_set(p);
            let next = asm.loop_();
            asm.i().local_get(p).local_get(from).i32_eq();
            asm.if_();
            asm.i().local_get(w).return_();
            asm.end();
            asm.add(p, size.cast_signed().wrapping_neg());
            match (&enumeration, key) {
                (Some(of), _) => {
                    load_enum(asm, of, p, 0, number);
                    map::numbers(asm, number, &of.numbers);
                    asm.i().i64_extend_i32_u().local_set(value);
                }
                (None, Key::Pack(scalar)) => load_wire(asm, scalar, p, 0, value),
                _ => {}
            }
            this.ensure(asm, w, 10);
            this.put_packed(asm, value, w, word);
            asm.br(next);
            asm.end();
            asm.i().unreachable();
        })
    }
}

/// Stores the value on the stack at the address below it.
pub(super) fn store(asm: &mut Asm, size: u32, offset: u32) {
    match size {
        1 => asm.i().i32_store8(at(offset)),
        2 => asm.i().i32_store16(at(offset)),
        _ => asm.i().i32_store(at(offset)),
    };
}

/// Loads what is unsigned from the address on the stack.
pub(super) fn load(asm: &mut Asm, size: u32, offset: u32) {
    match size {
        1 => asm.i().i32_load8_u(at(offset)),
        2 => asm.i().i32_load16_u(at(offset)),
        _ => asm.i().i32_load(at(offset)),
    };
}

/// The position of an enum's case, which must be one that it has.
pub(super) fn load_enum(asm: &mut Asm, of: &EnumTy, base: Local, offset: u32, position: Local) {
    asm.i().local_get(base);
    load(asm, of.size, offset);
    asm.i().local_tee(position).i32_const(super::count(of.numbers.len()).cast_signed());
    asm.i().i32_ge_u();
    asm.trap_if();
}

/// Stores an integer as it stood on the wire, in its own form. Bits too many are cut off.
pub(super) fn store_wire(asm: &mut Asm, scalar: Scalar, value: Local, to: Local, offset: u32) {
    let Lane { size, zigzag, boolean } = integer(scalar);
    asm.i().local_get(to);
    if boolean {
        asm.i().local_get(value).i64_const(0).i64_ne().i32_store8(at(offset));
        return;
    }
    if size == 8 {
        asm.i().local_get(value);
        if zigzag {
            asm.i().i64_const(1).i64_shr_u();
            asm.i().i64_const(0).local_get(value).i64_const(1).i64_and().i64_sub().i64_xor();
        }
        asm.i().i64_store(at(offset));
        return;
    }
    asm.i().local_get(value).i32_wrap_i64();
    if zigzag {
        asm.i().i32_const(1).i32_shr_u();
        asm.i().i32_const(0).local_get(value).i32_wrap_i64().i32_const(1).i32_and();
        asm.i().i32_sub().i32_xor();
    }
    store(asm, size, offset);
}

/// Loads an integer as it stands on the wire.
pub(super) fn load_wire(asm: &mut Asm, scalar: Scalar, from: Local, offset: u32, value: Local) {
    let Lane { size, zigzag, boolean } = integer(scalar);
    let at = at(offset);
    asm.i().local_get(from);
    match (size, zigzag) {
        (1, false) => asm.i().i64_load8_u(at),
        (1, true) => asm.i().i64_load8_s(at),
        (2, false) => asm.i().i64_load16_u(at),
        (2, true) => asm.i().i64_load16_s(at),
        (4, false) => asm.i().i64_load32_u(at),
        (4, true) => asm.i().i64_load32_s(at),
        _ => asm.i().i64_load(at),
    };
    if boolean {
        asm.i().i64_const(0).i64_ne().i64_extend_i32_u();
    }
    if zigzag {
        asm.i().local_tee(value).i64_const(1).i64_shl();
        asm.i().local_get(value).i64_const(63).i64_shr_s().i64_xor();
    }
    asm.i().local_set(value);
}
