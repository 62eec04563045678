//! Types and components made of arbitrary bytes.

use arbitrary::{Result, Unstructured};
use roadstead_transcode::Scalar;
use wasm_smith::{Component, Config};
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

use crate::types::{SCALARS, Type, WitText};

/// How deep a type nests at most.
const DEPTH: u32 = 5;

/// A type that the codec has a plan for.
pub(crate) fn ty(bytes: &mut Unstructured<'_>) -> Result<Type> {
    nested(bytes, DEPTH)
}

fn nested(bytes: &mut Unstructured<'_>, depth: u32) -> Result<Type> {
    let leaves = 3;
    let kinds = if depth == 0 { leaves } else { 10 };
    let inner = |bytes: &mut Unstructured<'_>| nested(bytes, depth - 1);
    Ok(match bytes.int_in_range(0..=kinds - 1)? {
        0 => Type::Scalar(*bytes.choose(&SCALARS)?),
        1 => Type::Enum(bytes.int_in_range(1..=300)?),
        2 => Type::Flags(bytes.int_in_range(1..=32)?),
        3 => Type::List(Box::new(inner(bytes)?)),
        4 => Type::Option(Box::new(inner(bytes)?)),
        5 => Type::Map(key(bytes)?, Box::new(inner(bytes)?)),
        6 => Type::Result(payload(bytes, inner)?, payload(bytes, inner)?),
        7 => Type::Tuple(several(bytes, inner)?),
        8 => Type::Record(several(bytes, inner)?),
        _ => Type::Variant(several(bytes, |bytes| {
            Ok(if bytes.arbitrary()? { Some(inner(bytes)?) } else { None })
        })?),
    })
}

fn key(bytes: &mut Unstructured<'_>) -> Result<Scalar> {
    let scalar = *bytes.choose(&SCALARS)?;
    // Protobuf has no maps by floats.
    Ok(if matches!(scalar, Scalar::F32 | Scalar::F64) { Scalar::String } else { scalar })
}

fn payload(
    bytes: &mut Unstructured<'_>,
    inner: impl Fn(&mut Unstructured<'_>) -> Result<Type>,
) -> Result<Option<Box<Type>>> {
    Ok(if bytes.arbitrary()? { Some(Box::new(inner(bytes)?)) } else { None })
}

fn several<T>(
    bytes: &mut Unstructured<'_>,
    inner: impl Fn(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    (0..bytes.int_in_range(1..=4)?).map(|_| inner(bytes)).collect()
}

/// A component: one of random sections, one that serves functions of random types, or bytes as they
/// are; any of them with a few bytes changed.
pub(crate) fn component(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut made = match bytes.int_in_range(0..=2)? {
        0 => Component::new(bytes.arbitrary::<Config>()?, bytes)?.to_bytes(),
        1 => serving(bytes)?,
        _ => return Ok(bytes.bytes(bytes.len())?.to_vec()),
    };
    for _ in 0..bytes.int_in_range(0..=4)? {
        let at = bytes.choose_index(made.len())?;
        made[at] = bytes.arbitrary()?;
    }
    Ok(made)
}

/// A component that exports functions of random types, and traps in all of them.
fn serving(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut text = WitText::default();
    let mut functions = String::new();
    for at in 0..bytes.int_in_range(1..=4)? {
        let (takes, gives) = (text.write(&ty(bytes)?), text.write(&ty(bytes)?));
        functions += &format!("  f{at}: func(a: {takes}) -> {gives};\n");
    }
    let types = text.declarations;
    let wit = format!(
        "package t:t@0.1.0;\ninterface i {{\n{types}{functions}}}\nworld w {{ export i; }}\n"
    );
    let mut resolve = Resolve::default();
    let package = resolve.push_str("world.wit", &wit).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    Ok(ComponentEncoder::default().module(&module).unwrap().encode().unwrap())
}
