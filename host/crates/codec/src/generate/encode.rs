//! What a guest returned, as a message: fields by their numbers, defaults left out, numbers packed.
//!
//! The guest's word is held to what the canonical ABI holds it to: a value that could not be lifted
//! traps.

use std::rc::Rc;

use roadstead_transcode::Scalar;

use super::{Generator, Key, count, floats, map, numbers};
use crate::{
    asm::{Asm, I32, I64, Local, at},
    types::{Field, FieldTy, Kind, MessageTy, Oneof, Ty, align_to},
};

/// The locals of a function that writes a message.
#[derive(Debug, Clone, Copy)]
struct Writer {
    w: Local,
    /// How much was written before a part that has a length.
    mark: Local,
    value: Local,
    number: Local,
    list: Local,
    length: Local,
}

/// A value in the guest's memory.
#[derive(Debug, Clone, Copy)]
struct Source {
    base: Local,
    offset: u32,
}

impl Source {
    fn behind(self, offset: u32) -> Self {
        Self { offset: self.offset.saturating_add(offset), ..self }
    }
}

impl Generator {
    /// `(from, w) -> w`: the fields of a message, without its length.
    pub(super) fn encode(&mut self, message: &Rc<MessageTy>) -> u32 {
        let of = Rc::clone(message);
        self.define(Key::Encode(message.id), &[I32; 2], &[I32], |this, asm| {
            let from = Source { base: 0, offset: 0 };
            let writer = Writer {
                w: 1,
                mark: asm.local(I32),
                value: asm.local(I64),
                number: asm.local(I32),
                list: asm.local(I32),
                length: asm.local(I32),
            };
            match &of.kind {
                Kind::Struct(fields) => {
                    let mut order: Vec<&Field> = fields.iter().collect();
                    order.sort_by_key(|field| std::cmp::Reverse(field.number));
                    for field in order {
                        this.encode_field(asm, &writer, field, from.behind(field.offset));
                    }
                }
                Kind::Flags(flags) => {
                    this.encode_flags(asm, &writer, flags, from, of.layout.size);
                }
                Kind::Oneof(oneof) => this.encode_oneof(asm, &writer, oneof, from),
            }
            asm.i().local_get(writer.w);
        })
    }

    fn encode_field(&mut self, asm: &mut Asm, writer: &Writer, field: &Field, from: Source) {
        match &field.ty {
            FieldTy::Singular(ty) => self.encode_singular(asm, writer, (field.number, ty), from),
            FieldTy::Optional(ty) => {
                asm.i().local_get(from.base).i32_load8_u(at(from.offset));
                asm.i().local_tee(writer.number).i32_const(1).i32_gt_u();
                asm.trap_if();
                asm.i().local_get(writer.number);
                asm.if_();
                let from = from.behind(align_to(1, ty.layout().align));
                self.encode_value(asm, writer, (field.number, ty), from);
                asm.end();
            }
            FieldTy::Repeated(ty) => {
                self.load_list(asm, writer, ty, from);
                if ty.is_packed() {
                    self.encode_packed(asm, writer, (field.number, ty));
                } else {
                    self.encode_list(asm, writer, (field.number, ty));
                }
            }
        }
    }

    /// A field that is left out where it has its default.
    fn encode_singular(
        &mut self,
        asm: &mut Asm,
        writer: &Writer,
        (number, ty): (u32, &Ty),
        from: Source,
    ) {
        match ty {
            Ty::Scalar(Scalar::Char) | Ty::Enum(_) | Ty::Message(_) => {
                self.encode_value(asm, writer, (number, ty), from);
            }
            Ty::Scalar(Scalar::String) | Ty::Bytes => {
                self.load_text(asm, writer, from);
                asm.i().local_get(writer.length);
                asm.if_();
                self.put_loaded_text(asm, writer, (number, ty));
                asm.else_();
                let bounds = self.bounds();
                asm.i().local_get(writer.list).i64_const(0).call(bounds);
                asm.end();
            }
            Ty::Scalar(scalar) => {
                load_number(asm, writer, *scalar, from);
                asm.i().local_get(writer.value).i64_const(0).i64_ne();
                asm.if_();
                self.put_loaded_number(asm, writer, (number, ty));
                asm.end();
            }
        }
    }

    /// A value with its tag, also where it is the default.
    fn encode_value(
        &mut self,
        asm: &mut Asm,
        writer: &Writer,
        (number, ty): (u32, &Ty),
        from: Source,
    ) {
        match ty {
            Ty::Scalar(Scalar::String) | Ty::Bytes => {
                self.load_text(asm, writer, from);
                self.put_loaded_text(asm, writer, (number, ty));
            }
            Ty::Scalar(Scalar::Char) => {
                let put = self.put_char();
                self.ensure(asm, writer.w, 16);
                Self::written(asm, writer.w);
                asm.i().local_set(writer.mark);
                asm.i().local_get(from.base).i32_load(at(from.offset)).local_get(writer.w);
                asm.i().call(put).local_set(writer.w);
                self.put_length(asm, (number, writer.mark), writer.value, writer.w);
            }
            Ty::Scalar(scalar) => {
                load_number(asm, writer, *scalar, from);
                self.put_loaded_number(asm, writer, (number, ty));
            }
            Ty::Enum(of) => {
                numbers::load_enum(asm, of, from.base, from.offset, writer.number);
                map::numbers(asm, writer.number, &of.numbers);
                asm.i().i64_extend_i32_u().local_set(writer.value);
                self.put_loaded_number(asm, writer, (number, ty));
            }
            Ty::Message(message) => {
                let encode = self.encode(message);
                Self::written(asm, writer.w);
                asm.i().local_set(writer.mark);
                asm.i().local_get(from.base);
                if from.offset != 0 {
                    asm.i().i32_const(from.offset.cast_signed()).i32_add();
                }
                asm.i().local_get(writer.w).call(encode).local_set(writer.w);
                self.put_length(asm, (number, writer.mark), writer.value, writer.w);
            }
        }
    }

    fn load_text(&mut self, asm: &mut Asm, writer: &Writer, from: Source) {
        asm.i().local_get(from.base).i32_load(at(from.offset)).local_set(writer.list);
        let length = from.behind(4);
        asm.i().local_get(from.base).i32_load(at(length.offset)).local_set(writer.length);
    }

    fn put_loaded_text(&mut self, asm: &mut Asm, writer: &Writer, (number, ty): (u32, &Ty)) {
        let put = if let Ty::Bytes = ty { self.put() } else { self.put_text() };
        asm.i().local_get(writer.list).local_get(writer.length).local_get(writer.w);
        asm.i().call(put).local_set(writer.w);
        asm.i().local_get(writer.length).i64_extend_i32_u().local_set(writer.value);
        self.ensure(asm, writer.w, 16);
        self.put_number(asm, writer.value, writer.w);
        Self::put_tag(asm, number << 3 | 2, writer.w);
    }

    fn put_loaded_number(&mut self, asm: &mut Asm, writer: &Writer, (number, ty): (u32, &Ty)) {
        self.ensure(asm, writer.w, 16);
        match ty.wire_type() {
            5 => {
                asm.add(writer.w, -4);
                asm.i().local_get(writer.w).local_get(writer.value).i64_store32(at(0));
            }
            1 => {
                asm.add(writer.w, -8);
                asm.i().local_get(writer.w).local_get(writer.value).i64_store(at(0));
            }
            _ => self.put_number(asm, writer.value, writer.w),
        }
        Self::put_tag(asm, number << 3 | ty.wire_type(), writer.w);
    }

    /// Where a list's elements are and how many; all of them lie in memory then.
    fn load_list(&mut self, asm: &mut Asm, writer: &Writer, ty: &Ty, from: Source) {
        let (layout, bounds) = (ty.layout(), self.bounds());
        self.load_text(asm, writer, from);
        asm.i().local_get(writer.list).local_get(writer.length).i64_extend_i32_u();
        asm.i().i64_const(i64::from(layout.size)).i64_mul().call(bounds);
        if 1 < layout.align {
            asm.i().local_get(writer.list).i32_const((layout.align - 1).cast_signed()).i32_and();
            asm.trap_if();
        }
    }

    fn encode_packed(&mut self, asm: &mut Asm, writer: &Writer, (number, ty): (u32, &Ty)) {
        let Writer { w, mark, value, list, length, .. } = *writer;
        asm.i().local_get(length);
        asm.if_();
        if let Ty::Scalar(scalar @ (Scalar::F32 | Scalar::F64)) = ty {
            let double = *scalar == Scalar::F64;
            let put = self.put();
            asm.i().local_get(length).i32_const(if double { 3 } else { 2 }).i32_shl();
            asm.i().local_set(length);
            asm.i().local_get(list).local_get(length).local_get(w).call(put).local_set(w);
            asm.i().local_get(length).i64_extend_i32_u().local_set(value);
            // All of it was thrown away where nothing is written.
            Self::written(asm, w);
            asm.if_();
            let canonical = if double { self.canonical_64() } else { self.canonical_32() };
            asm.i().local_get(w).local_get(w).local_get(length).i32_add().call(canonical);
            asm.end();
            self.ensure(asm, w, 16);
            self.put_number(asm, value, w);
            Self::put_tag(asm, number << 3 | 2, w);
        } else {
            let pack = self.pack(ty);
            Self::written(asm, w);
            asm.i().local_set(mark);
            asm.i().local_get(list).local_get(length).local_get(w).call(pack).local_set(w);
            self.put_length(asm, (number, mark), value, w);
        }
        asm.end();
    }

    /// Elements with a tag each, the last first.
    fn encode_list(&mut self, asm: &mut Asm, writer: &Writer, of: (u32, &Ty)) {
        let Writer { list, length, .. } = *writer;
        let size = of.1.layout().size.cast_signed();
        // The elements' own lists need the locals.
        let (first, element) = (asm.local(I32), asm.local(I32));
        asm.i().local_get(list).local_tee(first);
        asm.i().local_get(length).i32_const(size).i32_mul().i32_add().local_set(element);
        let done = asm.block();
        let next = asm.loop_();
        asm.i().local_get(element).local_get(first).i32_eq();
        asm.br_if(done);
        asm.add(element, -size);
        self.encode_value(asm, writer, of, Source { base: element, offset: 0 });
        asm.br(next);
        asm.end();
        asm.end();
    }

    fn encode_flags(
        &mut self,
        asm: &mut Asm,
        writer: &Writer,
        flags: &[u32],
        from: Source,
        size: u32,
    ) {
        asm.i().local_get(from.base);
        numbers::load(asm, size, from.offset);
        asm.i().local_set(writer.number);
        let mut order: Vec<(u32, u32)> = flags.iter().copied().zip(0..).collect();
        order.sort_unstable();
        for (number, position) in order.into_iter().rev() {
            asm.i().local_get(writer.number).i32_const(1_i32.wrapping_shl(position)).i32_and();
            asm.if_();
            self.ensure(asm, writer.w, 16);
            asm.add(writer.w, -1);
            asm.i().local_get(writer.w).i32_const(1).i32_store8(at(0));
            Self::put_tag(asm, number << 3, writer.w);
            asm.end();
        }
    }

    fn encode_oneof(&mut self, asm: &mut Asm, writer: &Writer, oneof: &Oneof, from: Source) {
        asm.i().local_get(from.base);
        numbers::load(asm, oneof.size, from.offset);
        asm.i().local_set(writer.number);
        let done = asm.block();
        let wrong = asm.block();
        let mut labels: Vec<_> = oneof.cases.iter().map(|_| asm.block()).collect();
        labels.reverse();
        asm.i().local_get(writer.number);
        asm.br_table(&labels, wrong);
        for case in &oneof.cases {
            asm.end();
            match &case.payload {
                Some(ty) => {
                    let from = from.behind(oneof.payload);
                    self.encode_value(asm, writer, (case.number, ty), from);
                }
                None => {
                    self.ensure(asm, writer.w, 16);
                    asm.add(writer.w, -1);
                    asm.i().local_get(writer.w).i32_const(0).i32_store8(at(0));
                    Self::put_tag(asm, case.number << 3 | 2, writer.w);
                }
            }
            asm.br(done);
        }
        asm.end();
        asm.i().unreachable();
        asm.end();
        debug_assert!(count(oneof.cases.len()) != 0, "a variant has cases");
    }
}

/// Loads a number as it stands on the wire, a float as its bits.
fn load_number(asm: &mut Asm, writer: &Writer, scalar: Scalar, from: Source) {
    match scalar {
        Scalar::F32 => {
            floats::bits(asm, false, from.base, from.offset);
            asm.i().i64_extend_i32_u().local_set(writer.value);
        }
        Scalar::F64 => {
            floats::bits(asm, true, from.base, from.offset);
            asm.i().local_set(writer.value);
        }
        _ => numbers::load_wire(asm, scalar, from.base, from.offset, writer.value),
    }
}
