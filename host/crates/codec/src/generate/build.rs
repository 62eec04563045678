//! The second pass: the values of a request, where the canonical ABI has them.

use std::rc::Rc;

use roadstead_transcode::Scalar;

use super::{
    Generator, Key,
    check::{Seen, position, tag},
    floats, numbers,
    read::Reader,
};
use crate::{
    asm::{Asm, I32, Local, at},
    types::{Field, FieldTy, Kind, Layout, MessageTy, Oneof, Ty, align_to},
};

/// Where a value goes: an address in a local, and an offset from it.
#[derive(Debug, Clone, Copy)]
struct Place {
    base: Local,
    offset: u32,
}

impl Place {
    fn behind(self, offset: u32) -> Self {
        Self { offset: self.offset.saturating_add(offset), ..self }
    }
}

/// The locals of a function that builds.
#[derive(Debug, Clone, Copy)]
struct Builder {
    reader: Reader,
    /// The elements of a list.
    list: Local,
    count: Local,
}

const TEXT: Layout = Layout { size: 1, align: 1 };

impl Generator {
    /// `(p, end, to)`. Traps where the request is not what was checked.
    pub(super) fn build(&mut self, message: &Rc<MessageTy>) -> u32 {
        let of = Rc::clone(message);
        self.define(Key::Build(message.id), &[I32; 3], &[], |this, asm| {
            let to = Place { base: 2, offset: 0 };
            let bad = asm.block();
            let reader = Reader::new(asm, 0, 1, bad);
            let builder = Builder { reader, list: asm.local(I32), count: asm.local(I32) };
            match &of.kind {
                Kind::Struct(fields) => this.build_struct(asm, &builder, fields, to),
                Kind::Flags(numbers) => {
                    this.build_flags(asm, &builder, numbers, to, of.layout.size);
                }
                Kind::Oneof(oneof) => this.build_oneof(asm, &builder, oneof, to),
            }
            asm.i().return_();
            asm.end();
            asm.i().unreachable();
        })
    }

    fn build_struct(&mut self, asm: &mut Asm, builder: &Builder, fields: &[Field], to: Place) {
        let seen = Seen::new(asm, fields.len());
        let numbers: Vec<u32> = fields.iter().map(|field| field.number).collect();
        self.walk(asm, &builder.reader, &numbers, |this, asm, position| {
            let Some(field) = fields.get(position) else { return };
            let to = to.behind(field.offset);
            seen.set(asm, position);
            match &field.ty {
                FieldTy::Singular(ty) => this.build_value(asm, builder, ty, to),
                FieldTy::Optional(ty) => {
                    asm.i().local_get(to.base).i32_const(1).i32_store8(at(to.offset));
                    this.build_value(asm, builder, ty, to.behind(align_to(1, ty.layout().align)));
                }
                FieldTy::Repeated(ty) if ty.is_packed() => {
                    this.build_packed(asm, builder, ty, to);
                }
                FieldTy::Repeated(ty) => {
                    this.build_list(asm, builder, ty, tag(field.number, ty), to);
                }
            }
        });
        for (position, field) in fields.iter().enumerate() {
            if field.ty.is_required() {
                continue;
            }
            seen.has(asm, position);
            asm.i().i32_eqz();
            asm.if_();
            self.build_default(asm, &field.ty, to.behind(field.offset));
            asm.end();
        }
    }

    fn build_flags(
        &mut self,
        asm: &mut Asm,
        builder: &Builder,
        numbers: &[u32],
        to: Place,
        size: u32,
    ) {
        let flags = asm.local(I32);
        self.walk(asm, &builder.reader, numbers, |this, asm, position| {
            this.read_varint(asm, &builder.reader);
            asm.i().local_get(flags);
            asm.i().local_get(builder.reader.value).i64_const(0).i64_ne();
            asm.i().i32_const(super::count(position).cast_signed()).i32_shl();
            asm.i().i32_or().local_set(flags);
        });
        asm.i().local_get(to.base).local_get(flags);
        numbers::store(asm, size, to.offset);
    }

    fn build_oneof(&mut self, asm: &mut Asm, builder: &Builder, oneof: &Oneof, to: Place) {
        let numbers: Vec<u32> = oneof.cases.iter().map(|case| case.number).collect();
        self.walk(asm, &builder.reader, &numbers, |this, asm, position| {
            asm.i().local_get(to.base).i32_const(super::count(position).cast_signed());
            numbers::store(asm, oneof.size, to.offset);
            match oneof.cases.get(position).and_then(|case| case.payload.as_ref()) {
                Some(ty) => this.build_value(asm, builder, ty, to.behind(oneof.payload)),
                None => this.read_span(asm, &builder.reader),
            }
        });
    }

    fn build_value(&mut self, asm: &mut Asm, builder: &Builder, ty: &Ty, to: Place) {
        let Builder { reader, .. } = builder;
        match ty {
            Ty::Scalar(scalar @ (Scalar::F32 | Scalar::F64)) => {
                let double = *scalar == Scalar::F64;
                asm.i().local_get(to.base);
                floats::bits(asm, double, reader.p, 0);
                if double {
                    asm.i().i64_store(at(to.offset));
                } else {
                    asm.i().i32_store(at(to.offset));
                }
                self.read_fixed(asm, reader, if double { 8 } else { 4 });
            }
            Ty::Scalar(Scalar::String) | Ty::Bytes => {
                self.read_span(asm, reader);
                asm.i().local_get(reader.to).local_get(reader.from).i32_sub();
                asm.i().local_set(builder.count);
                self.place_list(asm, builder, TEXT, to);
                let copy = self.copy();
                asm.i().local_get(builder.list).local_get(reader.from).local_get(builder.count);
                asm.i().call(copy);
            }
            Ty::Scalar(Scalar::Char) => {
                let one_char = self.one_char();
                self.read_span(asm, reader);
                asm.i().local_get(to.base);
                asm.i().local_get(reader.from).local_get(reader.to).call(one_char);
                asm.i().i32_store(at(to.offset));
            }
            Ty::Scalar(scalar) => {
                self.read_varint(asm, reader);
                numbers::store_wire(asm, *scalar, reader.value, to.base, to.offset);
            }
            Ty::Enum(of) => {
                self.read_varint(asm, reader);
                asm.i().local_get(to.base);
                position(asm, reader, of);
                numbers::store(asm, of.size, to.offset);
            }
            Ty::Message(message) => {
                let build = self.build(message);
                self.read_span(asm, reader);
                asm.i().local_get(reader.from).local_get(reader.to).local_get(to.base);
                if to.offset != 0 {
                    asm.i().i32_const(to.offset.cast_signed()).i32_add();
                }
                asm.i().call(build);
            }
        }
    }

    /// Asks for a list of `count` elements and stores where it is.
    fn place_list(&mut self, asm: &mut Asm, builder: &Builder, element: Layout, to: Place) {
        let alloc = self.alloc_list();
        asm.i().local_get(builder.count).i32_const(element.size.cast_signed());
        asm.i().i32_const(element.align.cast_signed()).call(alloc).local_set(builder.list);
        asm.i().local_get(to.base).local_get(builder.list).i32_store(at(to.offset));
        let length = to.behind(4);
        asm.i().local_get(to.base).local_get(builder.count).i32_store(at(length.offset));
    }

    fn build_packed(&mut self, asm: &mut Asm, builder: &Builder, ty: &Ty, to: Place) {
        let Builder { reader, list, count } = *builder;
        let layout = ty.layout();
        self.read_span(asm, &reader);
        let double = match ty {
            Ty::Scalar(Scalar::F32) => Some(false),
            Ty::Scalar(Scalar::F64) => Some(true),
            _ => None,
        };
        let Some(double) = double else {
            let (varints, unpack) = (self.count(), self.unpack(ty));
            asm.i().local_get(reader.from).local_get(reader.to).call(varints).local_set(count);
            self.place_list(asm, builder, layout, to);
            asm.i().local_get(reader.from).local_get(reader.to).local_get(list).call(unpack);
            return;
        };
        asm.i().local_get(reader.to).local_get(reader.from).i32_sub();
        asm.i().i32_const(if double { 3 } else { 2 }).i32_shr_u().local_set(count);
        self.place_list(asm, builder, layout, to);
        asm.i().local_get(reader.to).local_get(reader.from).i32_sub().local_set(count);
        asm.i().local_get(list).local_get(reader.from).local_get(count).memory_copy(0, 0);
        let canonical = if double { self.canonical_64() } else { self.canonical_32() };
        asm.i().local_get(list).local_get(list).local_get(count).i32_add().call(canonical);
    }

    /// Elements that follow each other, each with its tag.
    fn build_list(&mut self, asm: &mut Asm, builder: &Builder, ty: &Ty, tag: u32, to: Place) {
        let Builder { reader, list, count } = *builder;
        let layout = ty.layout();
        let run = self.count_run(tag);
        asm.i().local_get(reader.p).local_get(reader.end).call(run).local_set(count);
        self.place_list(asm, builder, layout, to);
        // The elements' own lists need the locals.
        let element = asm.local(I32);
        asm.i().local_get(list).local_set(element);
        let next = asm.loop_();
        self.build_value(asm, builder, ty, Place { base: element, offset: 0 });
        asm.add(element, layout.size.cast_signed());
        self.again_at_tag(asm, &reader, tag, next);
        asm.end();
    }

    /// What stands for a field that is not there.
    fn build_default(&mut self, asm: &mut Asm, ty: &FieldTy, to: Place) {
        let list = match ty {
            FieldTy::Singular(Ty::Scalar(Scalar::String) | Ty::Bytes) => Some(1),
            FieldTy::Repeated(element) => Some(element.layout().align),
            FieldTy::Singular(_) | FieldTy::Optional(_) => None,
        };
        asm.i().local_get(to.base);
        if let Some(align) = list {
            let alloc = self.alloc();
            asm.i().i32_const(align.cast_signed()).i32_const(0).call(alloc);
            asm.i().i32_store(at(to.offset));
            asm.i().local_get(to.base).i32_const(0).i32_store(at(to.behind(4).offset));
            return;
        }
        let size = match ty {
            FieldTy::Singular(ty) => ty.layout().size,
            _ => 1,
        };
        if size == 8 {
            asm.i().i64_const(0).i64_store(at(to.offset));
        } else {
            asm.i().i32_const(0);
            numbers::store(asm, size, to.offset);
        }
    }
}
