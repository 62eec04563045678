//! Values out of a guest's memory, by the canonical ABI.
//!
//! Everything in that memory is the guest's word: places are checked, lengths are paid for before
//! anything is made of them, and types nest no deeper than those that have a place on the wire.

use wasmtime::{
    Result, bail,
    component::{
        __internal::{
            ComponentTypes, InterfaceType, LiftContext,
            wasmtime_environ::component::{TypeMapIndex, VariantInfo},
        },
        Lift, Val,
    },
};

use super::item::{flag_bytes, layout};

type Payload = Option<Box<Val>>;

/// The value that begins at a place.
pub(super) fn value_at(cx: &mut LiftContext<'_>, ty: InterfaceType, start: usize) -> Result<Val> {
    let (size, _) = layout(cx.types.canonical_abi(&ty))?;
    let bytes = part(cx.memory(), start, size)?;
    value(cx, ty, bytes)
}

fn value(cx: &mut LiftContext<'_>, ty: InterfaceType, bytes: &[u8]) -> Result<Val> {
    let types = cx.types;
    Ok(match ty {
        InterfaceType::Bool => Val::Bool(plain(cx, ty, bytes)?),
        InterfaceType::U8 => Val::U8(plain(cx, ty, bytes)?),
        InterfaceType::U16 => Val::U16(plain(cx, ty, bytes)?),
        InterfaceType::U32 => Val::U32(plain(cx, ty, bytes)?),
        InterfaceType::U64 => Val::U64(plain(cx, ty, bytes)?),
        InterfaceType::S8 => Val::S8(plain(cx, ty, bytes)?),
        InterfaceType::S16 => Val::S16(plain(cx, ty, bytes)?),
        InterfaceType::S32 => Val::S32(plain(cx, ty, bytes)?),
        InterfaceType::S64 => Val::S64(plain(cx, ty, bytes)?),
        InterfaceType::Float32 => Val::Float32(plain(cx, ty, bytes)?),
        InterfaceType::Float64 => Val::Float64(plain(cx, ty, bytes)?),
        InterfaceType::Char => Val::Char(plain(cx, ty, bytes)?),
        InterfaceType::String => Val::String(plain::<Box<str>>(cx, ty, bytes)?.into()),
        InterfaceType::List(list) => Val::List(list_of(cx, types[list].element, bytes)?),
        InterfaceType::Map(map) => Val::Map(map_of(cx, map, bytes)?),
        InterfaceType::Record(record) => {
            let fields = &types[record].fields;
            cx.consume_fuel_array(fields.len(), size_of::<(String, Val)>())?;
            let mut end = 0;
            let mut values = Vec::with_capacity(fields.len());
            for field in fields {
                cx.consume_fuel(field.name.len())?;
                let value = field_value(cx, types, field.ty, bytes, &mut end)?;
                values.push((field.name.clone(), value));
            }
            Val::Record(values)
        }
        InterfaceType::Tuple(tuple) => {
            let types_of = &types[tuple].types;
            cx.consume_fuel_array(types_of.len(), size_of::<Val>())?;
            let mut end = 0;
            let values = types_of.iter().map(|ty| field_value(cx, types, *ty, bytes, &mut end));
            Val::Tuple(values.collect::<Result<_>>()?)
        }
        InterfaceType::Variant(variant) => {
            let variant = &types[variant];
            let cases = |at| variant.cases.get_index(at).map(|(name, ty)| (name.clone(), *ty));
            let ((name, payload), bytes) = case(&variant.info, cases, bytes)?;
            cx.consume_fuel(name.len())?;
            Val::Variant(name, payload_of(cx, payload, bytes)?)
        }
        InterfaceType::Enum(one) => {
            let one = &types[one];
            let names = |at| one.names.iter().nth(at).cloned();
            let (name, _) = case(&one.info, names, bytes)?;
            cx.consume_fuel(name.len())?;
            Val::Enum(name)
        }
        InterfaceType::Option(option) => {
            let option = &types[option];
            let cases = [None, Some(option.ty)];
            let (ty, bytes) = case(&option.info, |at| cases.get(at).copied(), bytes)?;
            Val::Option(payload_of(cx, ty, bytes)?)
        }
        InterfaceType::Result(result) => {
            let result = &types[result];
            let cases = [(true, result.ok), (false, result.err)];
            let ((ok, ty), bytes) = case(&result.info, |at| cases.get(at).copied(), bytes)?;
            let payload = payload_of(cx, ty, bytes)?;
            Val::Result(if ok { Ok(payload) } else { Err(payload) })
        }
        InterfaceType::Flags(flags) => Val::Flags(flags_of(cx, &types[flags].names, bytes)?),
        _ => bail!("an item of a kind that has no place on the wire"),
    })
}

fn plain<T: Lift>(cx: &mut LiftContext<'_>, ty: InterfaceType, bytes: &[u8]) -> Result<T> {
    T::linear_lift_from_memory(cx, ty, bytes)
}

fn field_value(
    cx: &mut LiftContext<'_>,
    types: &ComponentTypes,
    ty: InterfaceType,
    bytes: &[u8],
    end: &mut u32,
) -> Result<Val> {
    let abi = types.canonical_abi(&ty);
    let start = usize::try_from(abi.next_field32(end))?;
    value(cx, ty, part(bytes, start, layout(abi)?.0)?)
}

fn list_of(cx: &mut LiftContext<'_>, element: InterfaceType, bytes: &[u8]) -> Result<Vec<Val>> {
    let (size, align) = layout(cx.types.canonical_abi(&element))?;
    let (items, count) = pointed(cx, bytes, size, align)?;
    cx.consume_fuel_array(count, size_of::<Val>())?;
    let mut values = Vec::with_capacity(count);
    for at in 0..count {
        values.push(value(cx, element, part(items, at.saturating_mul(size), size)?)?);
    }
    Ok(values)
}

fn map_of(cx: &mut LiftContext<'_>, map: TypeMapIndex, bytes: &[u8]) -> Result<Vec<(Val, Val)>> {
    let map = &cx.types[map];
    let (size, align) = layout(&map.entry_abi)?;
    let (entries, count) = pointed(cx, bytes, size, align)?;
    cx.consume_fuel_array(count, size_of::<(Val, Val)>())?;
    let value_at = usize::try_from(map.value_offset32)?;
    let (key_size, _) = layout(cx.types.canonical_abi(&map.key))?;
    let (value_size, _) = layout(cx.types.canonical_abi(&map.value))?;
    let mut values = Vec::with_capacity(count);
    for at in 0..count {
        let entry = part(entries, at.saturating_mul(size), size)?;
        let key = value(cx, map.key, part(entry, 0, key_size)?)?;
        values.push((key, value(cx, map.value, part(entry, value_at, value_size)?)?));
    }
    Ok(values)
}

/// The memory that a pointer and a count stand for.
fn pointed<'a>(
    cx: &LiftContext<'a>,
    bytes: &[u8],
    size: usize,
    align: usize,
) -> Result<(&'a [u8], usize)> {
    let (Some((start, rest)), true) = (bytes.split_first_chunk(), bytes.len() == 8) else {
        bail!("a list without a length")
    };
    let Some(count) = rest.first_chunk() else { bail!("a list without a length") };
    let start = usize::try_from(u32::from_le_bytes(*start))?;
    let count = usize::try_from(u32::from_le_bytes(*count))?;
    if !start.is_multiple_of(align) {
        bail!("a list that is not aligned")
    }
    let Some(length) = count.checked_mul(size) else { bail!("a list beyond the end of memory") };
    Ok((part(cx.memory(), start, length)?, count))
}

/// What stands for the discriminant, and the bytes from the payload on.
fn case<'b, C>(
    info: &VariantInfo,
    cases: impl Fn(usize) -> Option<C>,
    bytes: &'b [u8],
) -> Result<(C, &'b [u8])> {
    let at = match (u32::from(info.size), bytes) {
        (1, [a, ..]) => u32::from(*a),
        (2, [a, b, ..]) => u32::from(u16::from_le_bytes([*a, *b])),
        (4, [a, b, c, d, ..]) => u32::from_le_bytes([*a, *b, *c, *d]),
        _ => bail!("a case beyond the end of memory"),
    };
    let Some(found) = cases(usize::try_from(at)?) else { bail!("a case that does not exist") };
    Ok((found, bytes.get(usize::try_from(info.payload_offset32)?..).unwrap_or_default()))
}

fn payload_of(
    cx: &mut LiftContext<'_>,
    ty: Option<InterfaceType>,
    bytes: &[u8],
) -> Result<Payload> {
    let Some(ty) = ty else { return Ok(None) };
    cx.consume_fuel(size_of::<Val>())?;
    let (size, _) = layout(cx.types.canonical_abi(&ty))?;
    Ok(Some(Box::new(value(cx, ty, part(bytes, 0, size)?)?)))
}

fn flags_of<'n>(
    cx: &mut LiftContext<'_>,
    names: impl IntoIterator<Item = &'n String, IntoIter: ExactSizeIterator>,
    bytes: &[u8],
) -> Result<Vec<String>> {
    let names = names.into_iter();
    let bits = part(bytes, 0, flag_bytes(names.len()))?;
    let mut set = Vec::new();
    for (at, name) in names.enumerate() {
        if bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1) {
            cx.consume_fuel(name.len().saturating_add(size_of::<String>()))?;
            set.push(name.clone());
        }
    }
    Ok(set)
}

fn part(bytes: &[u8], start: usize, length: usize) -> Result<&[u8]> {
    let part = bytes.get(start..).and_then(|rest| rest.get(..length));
    part.ok_or_else(|| wasmtime::Error::msg("a value beyond the end of memory"))
}
