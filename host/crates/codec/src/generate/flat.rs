//! Between memory and core values: parameters that are few, and results that are one.

use roadstead_transcode::Scalar;
use wasm_encoder::ValType;

use super::{count, numbers};
use crate::{
    asm::{Asm, I32, Local, at},
    types::{FieldTy, Kind, MessageTy, Ty, align_to},
};

/// Where the core values go, in their order.
pub(super) struct Targets<'a> {
    pub(super) locals: &'a [(Local, ValType)],
    /// Where the values lie.
    pub(super) base: Local,
    /// For a discriminant.
    pub(super) temporary: Local,
}

impl Targets<'_> {
    /// Loads a message's values from memory; `next` is the first local that is free.
    pub(super) fn message(&self, asm: &mut Asm, of: &MessageTy, offset: u32, next: usize) -> usize {
        match &of.kind {
            Kind::Struct(fields) => fields.iter().fold(next, |next, field| {
                self.field(asm, &field.ty, offset.saturating_add(field.offset), next)
            }),
            Kind::Flags(_) => {
                self.unsigned(asm, of.layout.size, offset, next);
                next + 1
            }
            Kind::Oneof(oneof) => {
                self.unsigned(asm, oneof.size, offset, next);
                let payload = offset.saturating_add(oneof.payload);
                for (position, case) in oneof.cases.iter().enumerate() {
                    let Some(ty) = &case.payload else { continue };
                    self.if_case(asm, (oneof.size, offset), count(position));
                    self.value(asm, ty, payload, next + 1);
                    asm.end();
                }
                next + of.flat.as_ref().map_or(1, Vec::len)
            }
        }
    }

    fn field(&self, asm: &mut Asm, ty: &FieldTy, offset: u32, next: usize) -> usize {
        match ty {
            FieldTy::Singular(ty) => self.value(asm, ty, offset, next),
            FieldTy::Optional(ty) => {
                self.unsigned(asm, 1, offset, next);
                self.if_case(asm, (1, offset), 1);
                let payload = offset.saturating_add(align_to(1, ty.layout().align));
                let end = self.value(asm, ty, payload, next + 1);
                asm.end();
                end
            }
            FieldTy::Repeated(_) => self.pair(asm, offset, next),
        }
    }

    fn value(&self, asm: &mut Asm, ty: &Ty, offset: u32, next: usize) -> usize {
        match ty {
            Ty::Message(message) => return self.message(asm, message, offset, next),
            Ty::Scalar(Scalar::String) | Ty::Bytes => return self.pair(asm, offset, next),
            Ty::Enum(of) => self.unsigned(asm, of.size, offset, next),
            Ty::Scalar(scalar) => {
                let at = at(offset);
                asm.i().local_get(self.base);
                let own = match scalar {
                    Scalar::S8 => {
                        asm.i().i32_load8_s(at);
                        ValType::I32
                    }
                    Scalar::S16 => {
                        asm.i().i32_load16_s(at);
                        ValType::I32
                    }
                    Scalar::U64 | Scalar::S64 => {
                        asm.i().i64_load(at);
                        ValType::I64
                    }
                    Scalar::F32 => {
                        asm.i().f32_load(at);
                        ValType::F32
                    }
                    Scalar::F64 => {
                        asm.i().f64_load(at);
                        ValType::F64
                    }
                    _ => {
                        numbers::load(asm, ty.layout().size, offset);
                        ValType::I32
                    }
                };
                self.set(asm, own, next);
            }
        }
        next + 1
    }

    /// An address and a length.
    fn pair(&self, asm: &mut Asm, offset: u32, next: usize) -> usize {
        self.unsigned(asm, 4, offset, next);
        self.unsigned(asm, 4, offset.saturating_add(4), next + 1);
        next + 2
    }

    fn unsigned(&self, asm: &mut Asm, size: u32, offset: u32, next: usize) {
        asm.i().local_get(self.base);
        numbers::load(asm, size, offset);
        self.set(asm, I32, next);
    }

    fn if_case(&self, asm: &mut Asm, (size, offset): (u32, u32), position: u32) {
        asm.i().local_get(self.base);
        numbers::load(asm, size, offset);
        asm.i().local_tee(self.temporary).i32_const(position.cast_signed()).i32_eq();
        asm.if_();
    }

    /// Sets a local from the stack, whose type may be one that holds several.
    fn set(&self, asm: &mut Asm, own: ValType, next: usize) {
        let Some((local, wanted)) = self.locals.get(next).copied() else {
            asm.i().drop();
            return;
        };
        match (own, wanted) {
            (ValType::I32, ValType::I64) => {
                asm.i().i64_extend_i32_u();
            }
            (ValType::F32, ValType::I32) => {
                asm.i().i32_reinterpret_f32();
            }
            (ValType::F32, ValType::I64) => {
                asm.i().i32_reinterpret_f32().i64_extend_i32_u();
            }
            (ValType::F64, ValType::I64) => {
                asm.i().i64_reinterpret_f64();
            }
            _ => {}
        }
        asm.i().local_set(local);
    }
}

/// Stores a value that is one core value in a local to memory. What is no value of the type traps,
/// also where its upper bits would be lost.
pub(super) fn store_single(asm: &mut Asm, of: &MessageTy, value: Local, base: Local, offset: u32) {
    let to = |field: u32| offset.saturating_add(field);
    match &of.kind {
        Kind::Struct(fields) => {
            for field in fields {
                if let FieldTy::Singular(ty) = &field.ty {
                    store_single_value(asm, ty, value, base, to(field.offset));
                }
            }
        }
        Kind::Flags(_) => {
            asm.i().local_get(base).local_get(value);
            numbers::store(asm, of.layout.size, offset);
        }
        Kind::Oneof(oneof) => {
            store_position(asm, (oneof.cases.len(), oneof.size), value, base, offset);
        }
    }
}

fn store_single_value(asm: &mut Asm, ty: &Ty, value: Local, base: Local, offset: u32) {
    match ty {
        Ty::Message(message) => store_single(asm, message, value, base, offset),
        Ty::Enum(of) => store_position(asm, (of.numbers.len(), of.size), value, base, offset),
        Ty::Scalar(scalar) => {
            asm.i().local_get(base).local_get(value);
            match scalar {
                Scalar::Bool => {
                    asm.i().i32_const(0).i32_ne().i32_store8(at(offset));
                }
                Scalar::U64 | Scalar::S64 => {
                    asm.i().i64_store(at(offset));
                }
                Scalar::F32 => {
                    asm.i().f32_store(at(offset));
                }
                Scalar::F64 => {
                    asm.i().f64_store(at(offset));
                }
                _ => numbers::store(asm, ty.layout().size, offset),
            }
        }
        // Two core values.
        Ty::Bytes => {}
    }
}

fn store_position(
    asm: &mut Asm,
    (cases, size): (usize, u32),
    value: Local,
    base: Local,
    offset: u32,
) {
    asm.i().local_get(value).i32_const(count(cases).cast_signed()).i32_ge_u();
    asm.trap_if();
    asm.i().local_get(base).local_get(value);
    numbers::store(asm, size, offset);
}
