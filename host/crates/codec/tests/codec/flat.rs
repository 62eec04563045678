//! Values that cross as core values, and results that are no values.

use proptest::{collection::vec, prelude::*, sample::select};
use roadstead_transcode::Scalar;
use wasmtime::component::Val;
use wit_parser::{
    Resolve, WorldItem,
    abi::{AbiVariant, WasmSignature, WasmType},
};

use crate::{
    guest::{Answer, Ended, Guest, component, encode},
    types::{Type, WitText, any_type},
    values::value,
};

/// A second function brings a `realloc` to the component's lifts. What it gives lies far behind
/// what results point to: that is the same on both paths.
const REALLOC: &str = r#"
  (memory (export "memory") 128)
  (func (export "test:guest/api@1.2.0#keep") (param i32 i32))
  (global $next (mut i32) (i32.const 0x40_0000))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $start i32)
    (local.set $start (i32.and
      (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get 2))))
    (global.set $next (i32.add (local.get $start) (local.get 3)))
    (local.get $start))"#;

/// The WIT of a world whose interface has one function.
fn wit(function: impl FnOnce(&mut WitText) -> String) -> String {
    let mut text = WitText::default();
    let function = function(&mut text);
    let types = text.declarations;
    format!(
        "package test:guest@1.2.0;\ninterface api {{\n{types}  {function}\n  keep: func(text: \
         string);\n}}\nworld guest {{ export api; }}\n"
    )
}

/// How the only function of a WIT text looks from within.
fn signature(wit: &str) -> WasmSignature {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("guest.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    let Some(WorldItem::Interface { id, .. }) = resolve.worlds[world].exports.values().next()
    else {
        panic!("no interface")
    };
    let function = resolve.interfaces[*id].functions.values().next().unwrap();
    resolve.wasm_signature(AbiVariant::GuestExport, function)
}

fn wasm_type(ty: WasmType) -> &'static str {
    match ty {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
    }
}

fn wasm_types(types: &[WasmType]) -> String {
    types.iter().map(|ty| wasm_type(*ty)).collect::<Vec<_>>().join(" ")
}

/// What has no address: those may differ.
fn without_addresses(ty: &Type) -> bool {
    match ty {
        Type::Scalar(scalar) => *scalar != Scalar::String,
        Type::List(_) | Type::Map(..) => false,
        Type::Option(of) => without_addresses(of),
        Type::Tuple(of) | Type::Record(of) => of.iter().all(without_addresses),
        Type::Result(ok, error) => {
            [ok, error].into_iter().flatten().all(|ty| without_addresses(ty))
        }
        Type::Variant(cases) => cases.iter().flatten().all(without_addresses),
        Type::Enum(_) | Type::Flags(_) => true,
    }
}

fn typed_values(types: impl Strategy<Value = Type>) -> impl Strategy<Value = (Type, Vec<Val>)> {
    types.prop_flat_map(|ty| {
        let values = vec(value(&ty), 1..6);
        (Just(ty), values)
    })
}

/// Bytes of an answer for which the guests' memory surely has room, beside what it is made of.
const ROOM: usize = 1 << 20;

/// Both give the same answer, or both trap. Only the compiled one makes it in the guest's memory.
fn same(guest: &Guest, request: &[u8]) -> Result<(), TestCaseError> {
    let plan = &guest.plans[0];
    let dynamic = Guest::dynamic(&mut guest.instance(), plan, request);
    let compiled = Guest::compiled(&mut guest.instance(), plan, request, u32::MAX);
    match (compiled, dynamic) {
        (Ok(Answer::Answered(compiled)), Ended::Answered(dynamic)) => {
            prop_assert!(compiled == dynamic);
            Ok(())
        }
        (Err(_), Ended::Trapped) => Ok(()),
        (Err(_), Ended::Answered(dynamic)) if ROOM < dynamic.len() => Ok(()),
        (compiled, dynamic) => {
            Err(TestCaseError::fail(format!("{compiled:.200?} is not {dynamic:.200?}")))
        }
    }
}

/// A guest that gives its core values as bytes.
fn dump(ty: &Type) -> Option<Guest> {
    let wit = wit(|text| format!("dump: func(value: {}) -> list<u8>;", text.write(ty)));
    let signature = signature(&wit);
    if signature.indirect_params {
        return None;
    }
    let stores: String = (0..)
        .zip(&signature.params)
        .map(|(at, ty)| {
            let to = 64 + 8 * at;
            format!("({}.store (i32.const {to}) (local.get {at}))", wasm_type(*ty))
        })
        .collect();
    let (params, size) = (wasm_types(&signature.params), 8 * signature.params.len());
    let wat = format!(
        r#"(module {REALLOC}
  (func (export "test:guest/api@1.2.0#dump") (param {params}) (result i32)
    {stores}
    (i32.store (i32.const 16) (i32.const 64))
    (i32.store (i32.const 20) (i32.const {size}))
    (i32.const 16)))"#
    );
    Some(Guest::new(&component(&wit, &wat)))
}

/// A guest that gives back its only core value.
fn same_value(ty: &Type) -> Option<Guest> {
    let wit = wit(|text| {
        let ty = text.write(ty);
        format!("same: func(value: {ty}) -> {ty};")
    });
    let signature = signature(&wit);
    if signature.retptr || signature.params.len() != 1 {
        return None;
    }
    let ty = wasm_types(&signature.params);
    let function = format!(
        r#"(func (export "test:guest/api@1.2.0#same") (param {ty}) (result {ty}) local.get 0)"#
    );
    Some(Guest::new(&component(&wit, &format!("(module {REALLOC} {function})"))))
}

/// A guest that gives bytes as what they would be as a value in memory.
fn raw(ty: &Type) -> Option<Guest> {
    let wit = wit(|text| format!("raw: func(image: list<u8>) -> {};", text.write(ty)));
    let signature = signature(&wit);
    let (load, result) = match (signature.retptr, signature.results.as_slice()) {
        (true, _) => ("(i32.const 4096)".to_owned(), "i32"),
        (false, [single]) => {
            let ty = wasm_type(*single);
            (format!("({ty}.load (i32.const 4096))"), ty)
        }
        _ => return None,
    };
    let wat = format!(
        r#"(module {REALLOC}
  (func (export "test:guest/api@1.2.0#raw") (param i32 i32) (result {result})
    (memory.copy (i32.const 4096) (local.get 0) (local.get 1))
    {load}))"#
    );
    Some(Guest::new(&component(&wit, &wat)))
}

/// Words that are now and then discriminants, lengths and addresses.
fn image() -> impl Strategy<Value = Vec<u8>> {
    let words = [0, 0, 0, 1, 1, 2, 3, 0x0101, 0x0001_0001, 7, 4096, 4104, 4160, 8192];
    let word = prop_oneof![8 => select(words.to_vec()), 1 => any::<u32>()];
    vec(word, 1..64).prop_map(|words| words.into_iter().flat_map(u32::to_le_bytes).collect())
}

proptest! {
    #[test]
    fn core_values_are_those_of_the_canonical_abi(
        (ty, values) in typed_values(any_type().prop_filter("addresses differ", without_addresses)),
    ) {
        let Some(guest) = dump(&ty) else { return Ok(()) };
        prop_assert_eq!(&guest.unserved, &[None, None]);
        for value in values {
            same(&guest, &encode_as_request(&guest, value))?;
        }
    }

    #[test]
    fn single_core_values_come_back((ty, values) in typed_values(any_type())) {
        let Some(guest) = same_value(&ty) else { return Ok(()) };
        prop_assert_eq!(&guest.unserved, &[None, None]);
        for value in values {
            same(&guest, &encode_as_request(&guest, value))?;
        }
    }

    #[test]
    fn whatever_a_guest_returns_is_a_value_or_traps(
        ty in any_type(),
        images in vec(image(), 1..12),
    ) {
        let Some(guest) = raw(&ty) else { return Ok(()) };
        if guest.unserved != [None, None] {
            return Ok(());
        }
        for image in images {
            same(&guest, &field(&image))?;
        }
    }
}

/// Requests and responses with one field are alike.
fn encode_as_request(guest: &Guest, value: Val) -> Vec<u8> {
    let mut plan = (*guest.plans[0]).clone();
    let roadstead_transcode::Body::Fields(fields) = &plan.request.body else { panic!("no fields") };
    plan.response = roadstead_transcode::ResponsePlan::Value(fields[0].clone());
    encode(&plan, &[value])
}

/// The bytes as field 1.
pub(crate) fn field(bytes: &[u8]) -> Vec<u8> {
    let mut to = vec![0x0a];
    prost::encoding::encode_varint(bytes.len() as u64, &mut to);
    to.extend(bytes);
    to
}
