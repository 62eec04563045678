//! One method from its request's bytes to its response's.

use wasm_encoder::ValType;

use super::{Generator, RETURNED, Served, core_params, core_results, flat, flat::Targets, global};
use crate::{
    asm::{Asm, I32, I64, Local, at},
    types::Response,
};

/// The parameters of the function, and its locals.
struct Entry {
    request: Local,
    length: Local,
    limit: Local,
    /// Where parameters and results lie that are not the guest's.
    frame: Local,
    w: Local,
    total: Local,
}

impl Generator {
    /// `(request, length, limit) -> address` of a `result<list<u8>, u32>`.
    pub(super) fn entry(&mut self, method: &Served<'_>) -> u32 {
        let (index, slot) = self.begin(&[I32; 3], &[I32]);
        let mut asm = Asm::new(3);
        let entry = Entry {
            request: 0,
            length: 1,
            limit: 2,
            frame: asm.local(I32),
            w: asm.local(I32),
            total: asm.local(I64),
        };
        let asm_ = &mut asm;
        self.begin_call(asm_, &entry, method);
        self.check_request(asm_, &entry, method);
        let returned = self.call_guest(asm_, &entry, method);
        self.respond(asm_, &entry, method, returned);
        self.finish(slot, asm);
        index
    }

    fn begin_call(&mut self, asm: &mut Asm, entry: &Entry, method: &Served<'_>) {
        asm.i().local_get(entry.limit).global_set(global::LIMIT);
        asm.i().i64_const(0).global_set(global::DISCARDED);
        let realloc = method.lift.realloc.map(|function| self.imported(function));
        let which = self.reallocs.iter().position(|known| Some(*known) == realloc);
        if 1 < self.reallocs.len() {
            let which = super::count(which.unwrap_or(0)).cast_signed();
            asm.i().i32_const(which).global_set(global::REALLOC);
        }
    }

    /// Declines what is not sure to be right.
    fn check_request(&mut self, asm: &mut Asm, entry: &Entry, method: &Served<'_>) {
        let check = self.check(&method.signature.request);
        asm.i().local_get(entry.request).local_get(entry.request).local_get(entry.length);
        asm.i().i32_add().call(check).i32_eqz();
        asm.if_();
        asm.i().global_get(global::BLOCK).i32_const(1).i32_store8(at(0));
        asm.i().global_get(global::BLOCK).i32_const(0).i32_store(at(4));
        asm.i().global_get(global::BLOCK).return_();
        asm.end();
    }

    /// Calls the guest's function and keeps what it gives in a local.
    fn call_guest(&mut self, asm: &mut Asm, entry: &Entry, method: &Served<'_>) -> Option<Local> {
        let Served { lift, signature } = method;
        let request = &signature.request;
        let build = self.build(request);
        if request.flat.is_some() {
            asm.i().global_get(global::BLOCK).i32_const(RETURNED.cast_signed()).i32_add();
        } else {
            let alloc = self.alloc();
            asm.i().i32_const(request.layout.align.cast_signed());
            asm.i().i32_const(request.layout.size.cast_signed()).call(alloc);
        }
        asm.i().local_set(entry.frame);
        asm.i().local_get(entry.request).local_get(entry.request).local_get(entry.length);
        asm.i().i32_add().local_get(entry.frame).call(build);
        if request.flat.is_some() {
            let params = core_params(&request.flat);
            let locals: Vec<(Local, ValType)> =
                params.iter().map(|ty| (asm.local(*ty), *ty)).collect();
            let temporary = asm.local(I32);
            let targets = Targets { locals: &locals, base: entry.frame, temporary };
            targets.message(asm, request, 0, 0);
            for (local, _) in &locals {
                asm.i().local_get(*local);
            }
        } else {
            asm.i().local_get(entry.frame);
        }
        asm.i().call(self.imported(lift.function));
        let returned = core_results(signature).first().map(|ty| asm.local(*ty));
        if let Some(local) = returned {
            asm.i().local_set(local);
        }
        returned
    }

    fn respond(
        &mut self,
        asm: &mut Asm,
        entry: &Entry,
        method: &Served<'_>,
        returned: Option<Local>,
    ) {
        let Served { lift, signature } = method;
        Self::top(asm);
        asm.i().local_set(entry.w);
        if let (Response::Value(message) | Response::Result(message), Some(value)) =
            (&signature.response, returned)
        {
            let from = entry.frame;
            if matches!(message.flat.as_deref(), Some([_])) {
                asm.i().global_get(global::BLOCK).i32_const(RETURNED.cast_signed()).i32_add();
                asm.i().local_set(from);
                flat::store_single(asm, message, value, from, 0);
            } else {
                let bounds = self.bounds();
                asm.i().local_get(value).local_tee(from);
                asm.i().i32_const((message.layout.align - 1).cast_signed()).i32_and();
                asm.trap_if();
                asm.i().local_get(from).i64_const(i64::from(message.layout.size)).call(bounds);
            }
            let encode = self.encode(message);
            asm.i().local_get(from).local_get(entry.w).call(encode).local_set(entry.w);
        }
        if let Some(post_return) = lift.post_return {
            if let Some(value) = returned {
                asm.i().local_get(value);
            }
            asm.i().call(self.imported(post_return));
        }
        Self::written(asm, entry.w);
        asm.i().i64_extend_i32_u().global_get(global::DISCARDED).i64_add();
        asm.i().local_tee(entry.total).global_get(global::LIMIT).i64_extend_i32_u().i64_gt_u();
        asm.if_();
        asm.i().global_get(global::BLOCK).i32_const(1).i32_store8(at(0));
        asm.i().global_get(global::BLOCK);
        asm.i().local_get(entry.total).i64_const(0xffff_ffff);
        asm.i().local_get(entry.total).i64_const(0xffff_ffff).i64_lt_u().select();
        asm.i().i32_wrap_i64().i32_store(at(4));
        asm.else_();
        asm.i().global_get(global::BLOCK).i32_const(0).i32_store8(at(0));
        asm.i().global_get(global::BLOCK).local_get(entry.w).i32_store(at(4));
        asm.i().global_get(global::BLOCK).local_get(entry.total).i32_wrap_i64().i32_store(at(8));
        asm.end();
        asm.i().global_get(global::BLOCK);
    }
}
