//! Reads what stands on the wire, never beyond its end.
//!
//! Positions are addresses; 0 is none, and what a function gives for what it cannot read.

use super::{Generator, Key};
use crate::asm::{Asm, I32, I64, Label, Local, at};

/// The locals of a function that reads a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    /// What is read next.
    pub(super) p: Local,
    pub(super) end: Local,
    pub(super) tag: Local,
    /// The beginning and the end of what has a length.
    pub(super) from: Local,
    pub(super) to: Local,
    pub(super) value: Local,
    byte: Local,
    /// Where to go with what cannot be read.
    pub(super) bad: Label,
}

impl Reader {
    /// Reads from the address in local `p` to that in `end`.
    pub(super) fn new(asm: &mut Asm, p: Local, end: Local, bad: Label) -> Self {
        Self {
            p,
            end,
            tag: asm.local(I32),
            from: asm.local(I32),
            to: asm.local(I32),
            value: asm.local(I64),
            byte: asm.local(I32),
            bad,
        }
    }
}

impl Generator {
    /// `(p, end) -> (value, p)`.
    pub(super) fn varint(&mut self) -> u32 {
        self.define(Key::Varint, &[I32; 2], &[I64, I32], |_, asm| {
            let (p, end) = (0, 1);
            let (value, shift, byte) = (asm.local(I64), asm.local(I64), asm.local(I32));
            let bad = asm.block();
            let next = asm.loop_();
            asm.i().local_get(p).local_get(end).i32_ge_u();
            asm.br_if(bad);
            asm.i().local_get(p).i32_load8_u(at(0)).local_set(byte);
            asm.add(p, 1);
            // The tenth byte has one bit left.
            asm.i().local_get(shift).i64_const(63).i64_eq();
            asm.i().local_get(byte).i32_const(1).i32_gt_u().i32_and();
            asm.br_if(bad);
            asm.i().local_get(value).local_get(byte).i32_const(0x7f).i32_and();
            asm.i().i64_extend_i32_u().local_get(shift).i64_shl().i64_or().local_set(value);
            asm.i().local_get(byte).i32_const(0x80).i32_lt_u();
            asm.if_();
            asm.i().local_get(value).local_get(p).return_();
            asm.end();
            asm.i().local_get(shift).i64_const(7).i64_add().local_set(shift);
            asm.br(next);
            asm.end();
            asm.end();
            asm.i().i64_const(0).i32_const(0);
        })
    }

    /// `(p, end) -> (tag, p)`, of five bytes at most.
    fn tag(&mut self) -> u32 {
        self.define(Key::Tag, &[I32; 2], &[I32, I32], |_, asm| {
            let (p, end) = (0, 1);
            let (tag, shift, byte) = (asm.local(I32), asm.local(I32), asm.local(I32));
            let bad = asm.block();
            let next = asm.loop_();
            asm.i().local_get(p).local_get(end).i32_ge_u();
            asm.br_if(bad);
            asm.i().local_get(p).i32_load8_u(at(0)).local_set(byte);
            asm.add(p, 1);
            asm.i().local_get(shift).i32_const(28).i32_eq();
            asm.i().local_get(byte).i32_const(15).i32_gt_u().i32_and();
            asm.br_if(bad);
            asm.i().local_get(tag).local_get(byte).i32_const(0x7f).i32_and();
            asm.i().local_get(shift).i32_shl().i32_or().local_set(tag);
            asm.i().local_get(byte).i32_const(0x80).i32_lt_u();
            asm.if_();
            asm.i().local_get(tag).local_get(p).return_();
            asm.end();
            asm.add(shift, 7);
            asm.br(next);
            asm.end();
            asm.end();
            asm.i().i32_const(0).i32_const(0);
        })
    }

    /// `(p, end) -> (from, to)`: of a length and what it is the length of.
    pub(super) fn span(&mut self) -> u32 {
        let varint = self.varint();
        self.define(Key::Span, &[I32; 2], &[I32; 2], |_, asm| {
            let (p, end) = (0, 1);
            let length = asm.local(I64);
            asm.i().local_get(p).local_get(end).call(varint).local_set(p).local_set(length);
            asm.i().local_get(p).i32_eqz();
            asm.i().local_get(length).local_get(end).local_get(p).i32_sub().i64_extend_i32_u();
            asm.i().i64_gt_u().i32_or();
            asm.if_();
            asm.i().i32_const(0).i32_const(0).return_();
            asm.end();
            asm.i().local_get(p).local_get(p).local_get(length).i32_wrap_i64().i32_add();
        })
    }

    /// `(p, end, tag) -> p`, behind a field that is not known.
    pub(super) fn skip(&mut self) -> u32 {
        let (varint, span) = (self.varint(), self.span());
        self.define(Key::Skip, &[I32; 3], &[I32], |_, asm| {
            let (p, end, tag) = (0, 1, 2);
            let kind = asm.local(I32);
            asm.i().local_get(tag).i32_const(7).i32_and().local_set(kind);
            asm.i().local_get(tag).i32_const(8).i32_lt_u();
            asm.if_();
            asm.i().i32_const(0).return_();
            asm.end();
            asm.i().local_get(kind).i32_eqz();
            asm.if_();
            asm.i().local_get(p).local_get(end).call(varint).local_set(p).drop();
            asm.i().local_get(p).return_();
            asm.end();
            asm.i().local_get(kind).i32_const(2).i32_eq();
            asm.if_();
            asm.i().local_get(p).local_get(end).call(span).local_set(kind);
            // An empty one at its end is not at 0.
            asm.i().i32_eqz();
            asm.if_value(I32);
            asm.i().i32_const(0);
            asm.else_();
            asm.i().local_get(kind);
            asm.end();
            asm.i().return_();
            asm.end();
            for (wire_type, size) in [(1, 8), (5, 4)] {
                asm.i().local_get(kind).i32_const(wire_type).i32_eq();
                asm.i().local_get(end).local_get(p).i32_sub().i32_const(size).i32_ge_u().i32_and();
                asm.if_();
                asm.i().local_get(p).i32_const(size).i32_add().return_();
                asm.end();
            }
            asm.i().i32_const(0);
        })
    }

    /// `(p, end) -> ok`, of a message of which no field is known.
    pub(super) fn unknown(&mut self) -> u32 {
        let skip = self.skip();
        self.define(Key::Unknown, &[I32; 2], &[I32], |this, asm| {
            let bad = asm.block();
            let reader = Reader::new(asm, 0, 1, bad);
            let next = asm.loop_();
            asm.i().local_get(reader.p).local_get(reader.end).i32_ge_u();
            asm.if_();
            asm.i().i32_const(1).return_();
            asm.end();
            this.read_tag(asm, &reader);
            asm.i().local_get(reader.p).local_get(reader.end).local_get(reader.tag);
            asm.i().call(skip).local_tee(reader.p).i32_eqz();
            asm.br_if(bad);
            asm.br(next);
            asm.end();
            asm.end();
            asm.i().i32_const(0);
        })
    }

    /// Into `tag`.
    pub(super) fn read_tag(&mut self, asm: &mut Asm, reader: &Reader) {
        let tag = self.tag();
        asm.i().local_get(reader.p).i32_load8_u(at(0)).local_tee(reader.tag);
        asm.i().i32_const(0x80).i32_lt_u();
        asm.if_();
        asm.add(reader.p, 1);
        asm.else_();
        asm.i().local_get(reader.p).local_get(reader.end).call(tag);
        asm.i().local_set(reader.p).local_set(reader.tag);
        asm.i().local_get(reader.p).i32_eqz();
        asm.br_if(reader.bad);
        asm.end();
    }

    /// Into `value`.
    pub(super) fn read_varint(&mut self, asm: &mut Asm, reader: &Reader) {
        let varint = self.varint();
        let done = asm.block();
        let slow = asm.block();
        one_byte(asm, reader, slow);
        asm.i().local_get(reader.byte).i64_extend_i32_u().local_set(reader.value);
        asm.add(reader.p, 1);
        asm.br(done);
        asm.end();
        asm.i().local_get(reader.p).local_get(reader.end).call(varint);
        asm.i().local_set(reader.p).local_set(reader.value);
        asm.i().local_get(reader.p).i32_eqz();
        asm.br_if(reader.bad);
        asm.end();
    }

    /// Into `from` and `to`; then `p` is `to`.
    pub(super) fn read_span(&mut self, asm: &mut Asm, reader: &Reader) {
        let span = self.span();
        let done = asm.block();
        let slow = asm.block();
        one_byte(asm, reader, slow);
        asm.i().local_get(reader.p).i32_const(1).i32_add().local_tee(reader.from);
        asm.i().local_get(reader.byte).i32_add().local_set(reader.to);
        asm.i().local_get(reader.byte).local_get(reader.end).local_get(reader.from).i32_sub();
        asm.i().i32_gt_u();
        asm.br_if(reader.bad);
        asm.br(done);
        asm.end();
        asm.i().local_get(reader.p).local_get(reader.end).call(span);
        asm.i().local_set(reader.to).local_tee(reader.from).i32_eqz();
        asm.br_if(reader.bad);
        asm.end();
        asm.i().local_get(reader.to).local_set(reader.p);
    }

    /// Steps over a fixed number of bytes.
    pub(super) fn read_fixed(&mut self, asm: &mut Asm, reader: &Reader, size: i32) {
        asm.i().local_get(reader.end).local_get(reader.p).i32_sub().i32_const(size).i32_lt_u();
        asm.br_if(reader.bad);
        asm.add(reader.p, size);
    }

    /// `(p, end) -> p`: behind the tag if it is the next one, else 0.
    pub(super) fn same_tag(&mut self, tag: u32) -> u32 {
        self.define(Key::SameTag(tag), &[I32; 2], &[I32], |_, asm| {
            let (p, end) = (0, 1);
            let bytes = varint_bytes(tag);
            let size = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
            let other = asm.block();
            asm.i().local_get(end).local_get(p).i32_sub().i32_const(size).i32_lt_u();
            asm.br_if(other);
            for (offset, byte) in (0..).zip(&bytes) {
                asm.i().local_get(p).i32_load8_u(at(offset)).i32_const(i32::from(*byte)).i32_ne();
                asm.br_if(other);
            }
            asm.i().local_get(p).i32_const(size).i32_add().return_();
            asm.end();
            asm.i().i32_const(0);
        })
    }

    /// Goes on at `again` behind the tag if it is the next one.
    pub(super) fn again_at_tag(&mut self, asm: &mut Asm, reader: &Reader, tag: u32, again: Label) {
        if tag < 0x80 {
            let other = asm.block();
            asm.i().local_get(reader.p).local_get(reader.end).i32_ge_u();
            asm.br_if(other);
            asm.i().local_get(reader.p).i32_load8_u(at(0)).i32_const(signed(tag)).i32_ne();
            asm.br_if(other);
            asm.add(reader.p, 1);
            asm.br(again);
            asm.end();
        } else {
            let same = self.same_tag(tag);
            asm.i().local_get(reader.p).local_get(reader.end).call(same).local_tee(reader.from);
            asm.if_();
            asm.i().local_get(reader.from).local_set(reader.p);
            asm.br(again);
            asm.end();
        }
    }

    /// `(p, end) -> count` of elements that follow each other, from behind the tag of the first.
    pub(super) fn count_run(&mut self, tag: u32) -> u32 {
        let (span, same) = (self.span(), self.same_tag(tag));
        self.define(Key::CountRun(tag), &[I32; 2], &[I32], |_, asm| {
            let (p, end) = (0, 1);
            let (count, to) = (asm.local(I32), asm.local(I32));
            let next = asm.loop_();
            asm.i().local_get(p).local_get(end).call(span).local_set(to).i32_eqz();
            asm.trap_if();
            asm.add(count, 1);
            asm.i().local_get(to).local_get(end).call(same).local_tee(p);
            asm.br_if(next);
            asm.end();
            asm.i().local_get(count);
        })
    }
}

/// The next byte, if there is one and it is a whole varint.
fn one_byte(asm: &mut Asm, reader: &Reader, otherwise: Label) {
    asm.i().local_get(reader.p).local_get(reader.end).i32_ge_u();
    asm.br_if(otherwise);
    asm.i().local_get(reader.p).i32_load8_u(at(0)).local_tee(reader.byte);
    asm.i().i32_const(0x80).i32_ge_u();
    asm.br_if(otherwise);
}

pub(super) fn varint_bytes(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            bytes.push(low & 0x7f);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// The constant with the same bits.
pub(super) fn signed(value: u32) -> i32 {
    value.cast_signed()
}
