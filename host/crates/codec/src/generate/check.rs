//! The first pass: whether all of a request can be served. It stores nothing.

use std::rc::Rc;

use roadstead_transcode::Scalar;

use super::{Generator, Key, map, numbers, read::Reader, walk};
use crate::{
    asm::{Asm, I32, I64, Local},
    types::{EnumTy, Field, FieldTy, Kind, MessageTy, Oneof, Ty},
};

/// Which fields were there, 64 in a local.
#[derive(Debug)]
pub(super) struct Seen(Vec<Local>);

impl Seen {
    pub(super) fn new(asm: &mut Asm, fields: usize) -> Self {
        Self((0..fields.div_ceil(64)).map(|_| asm.local(I64)).collect())
    }

    fn bit(&self, position: usize) -> (Local, i64) {
        let local = self.0.get(position / 64).copied().unwrap_or_default();
        (local, 1_i64.wrapping_shl(super::count(position % 64)))
    }

    pub(super) fn set(&self, asm: &mut Asm, position: usize) {
        let (local, bit) = self.bit(position);
        asm.i().local_get(local).i64_const(bit).i64_or().local_set(local);
    }

    /// Leaves whether a field was there.
    pub(super) fn has(&self, asm: &mut Asm, position: usize) {
        let (local, bit) = self.bit(position);
        asm.i().local_get(local).i64_const(bit).i64_and().i64_const(0).i64_ne();
    }

    /// All locals, each with the bits of those fields in it that fulfil a condition.
    fn masks(&self, fields: &[Field], which: impl Fn(&Field) -> bool) -> Vec<(Local, i64)> {
        let of = |(index, local): (usize, &Local)| {
            let fields = fields.iter().enumerate().skip(index * 64).take(64);
            let bits = fields.filter(|(_, field)| which(field)).map(|(at, _)| self.bit(at).1);
            (*local, bits.fold(0, |mask, bit| mask | bit))
        };
        self.0.iter().enumerate().map(of).collect()
    }
}

impl Generator {
    /// `(p, end) -> ok`.
    pub(super) fn check(&mut self, message: &Rc<MessageTy>) -> u32 {
        let of = Rc::clone(message);
        self.define(Key::Check(message.id), &[I32; 2], &[I32], |this, asm| {
            let bad = asm.block();
            let reader = Reader::new(asm, 0, 1, bad);
            match &of.kind {
                Kind::Struct(fields) => this.check_struct(asm, &reader, fields),
                Kind::Flags(numbers) => this.check_flags(asm, &reader, numbers),
                Kind::Oneof(oneof) => this.check_oneof(asm, &reader, oneof),
            }
            asm.i().i32_const(1).return_();
            asm.end();
            asm.i().i32_const(0);
        })
    }

    fn check_struct(&mut self, asm: &mut Asm, reader: &Reader, fields: &[Field]) {
        let seen = Seen::new(asm, fields.len());
        let numbers: Vec<u32> = fields.iter().map(|field| field.number).collect();
        self.walk(asm, reader, &numbers, |this, asm, position| {
            let Some(field) = fields.get(position) else { return };
            walk::expect(asm, reader, field.ty.wire_type());
            seen.has(asm, position);
            asm.br_if(reader.bad);
            seen.set(asm, position);
            match &field.ty {
                FieldTy::Singular(ty) | FieldTy::Optional(ty) => this.check_value(asm, reader, ty),
                FieldTy::Repeated(ty) if ty.is_packed() => this.check_packed(asm, reader, ty),
                FieldTy::Repeated(ty) => {
                    let next = asm.loop_();
                    this.check_value(asm, reader, ty);
                    this.again_at_tag(asm, reader, tag(field.number, ty), next);
                    asm.end();
                }
            }
        });
        for (local, required) in seen.masks(fields, |field| field.ty.is_required()) {
            if required != 0 {
                asm.i().local_get(local).i64_const(required).i64_and();
                asm.i().i64_const(required).i64_ne();
                asm.br_if(reader.bad);
            }
        }
    }

    fn check_flags(&mut self, asm: &mut Asm, reader: &Reader, numbers: &[u32]) {
        let seen = Seen::new(asm, numbers.len());
        self.walk(asm, reader, numbers, |this, asm, position| {
            walk::expect(asm, reader, 0);
            seen.has(asm, position);
            asm.br_if(reader.bad);
            seen.set(asm, position);
            this.read_varint(asm, reader);
        });
    }

    fn check_oneof(&mut self, asm: &mut Asm, reader: &Reader, oneof: &Oneof) {
        let seen = asm.local(I32);
        let unknown = self.unknown();
        let numbers: Vec<u32> = oneof.cases.iter().map(|case| case.number).collect();
        self.walk(asm, reader, &numbers, |this, asm, position| {
            let Some(case) = oneof.cases.get(position) else { return };
            walk::expect(asm, reader, case.payload.as_ref().map_or(2, Ty::wire_type));
            asm.i().local_get(seen);
            asm.br_if(reader.bad);
            asm.i().i32_const(1).local_set(seen);
            match &case.payload {
                Some(ty) => this.check_value(asm, reader, ty),
                None => {
                    this.read_span(asm, reader);
                    asm.i().local_get(reader.from).local_get(reader.to).call(unknown).i32_eqz();
                    asm.br_if(reader.bad);
                }
            }
        });
        asm.i().local_get(seen).i32_eqz();
        asm.br_if(reader.bad);
    }

    fn check_value(&mut self, asm: &mut Asm, reader: &Reader, ty: &Ty) {
        match ty {
            Ty::Scalar(Scalar::F32) => self.read_fixed(asm, reader, 4),
            Ty::Scalar(Scalar::F64) => self.read_fixed(asm, reader, 8),
            Ty::Scalar(Scalar::String) => {
                let utf8 = self.utf8();
                self.read_span(asm, reader);
                asm.i().local_get(reader.from).local_get(reader.to).call(utf8).i32_eqz();
                asm.br_if(reader.bad);
            }
            Ty::Scalar(Scalar::Char) => {
                let one_char = self.one_char();
                self.read_span(asm, reader);
                asm.i().local_get(reader.from).local_get(reader.to).call(one_char);
                asm.i().i32_const(0).i32_lt_s();
                asm.br_if(reader.bad);
            }
            Ty::Scalar(scalar) => {
                self.read_varint(asm, reader);
                if let Some(most) = numbers::most(*scalar) {
                    asm.i().local_get(reader.value).i32_wrap_i64().i32_const(most).i32_gt_u();
                    asm.br_if(reader.bad);
                }
            }
            Ty::Bytes => self.read_span(asm, reader),
            Ty::Enum(of) => {
                self.read_varint(asm, reader);
                position(asm, reader, of);
                asm.i().i32_const(-1).i32_eq();
                asm.br_if(reader.bad);
            }
            Ty::Message(message) => {
                let check = self.check(message);
                self.read_span(asm, reader);
                asm.i().local_get(reader.from).local_get(reader.to).call(check).i32_eqz();
                asm.br_if(reader.bad);
            }
        }
    }

    fn check_packed(&mut self, asm: &mut Asm, reader: &Reader, ty: &Ty) {
        self.read_span(asm, reader);
        match ty {
            Ty::Enum(of) => {
                let check = self.packed_enums(of);
                asm.i().local_get(reader.from).local_get(reader.to).call(check).i32_eqz();
            }
            Ty::Scalar(scalar @ (Scalar::F32 | Scalar::F64)) => {
                let rest = if *scalar == Scalar::F32 { 3 } else { 7 };
                asm.i().local_get(reader.to).local_get(reader.from).i32_sub();
                asm.i().i32_const(rest).i32_and();
            }
            Ty::Scalar(_) | Ty::Bytes | Ty::Message(_) => {
                let check = self.packed();
                let most = if let Ty::Scalar(scalar) = ty { numbers::most(*scalar) } else { None };
                asm.i().local_get(reader.from).local_get(reader.to).i32_const(most.unwrap_or(-1));
                asm.i().call(check).i32_eqz();
            }
        }
        asm.br_if(reader.bad);
    }
}

/// Leaves the position of the enum's case whose number was read, or -1.
pub(super) fn position(asm: &mut Asm, reader: &Reader, of: &EnumTy) {
    // What has a length is not read now.
    let number = reader.from;
    asm.i().local_get(reader.value).i32_wrap_i64().local_set(number);
    map::positions(asm, number, &of.numbers);
}

/// The tag before a value.
pub(super) fn tag(number: u32, ty: &Ty) -> u32 {
    number << 3 | ty.wire_type()
}
