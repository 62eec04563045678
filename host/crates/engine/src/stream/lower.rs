//! Values into a guest's memory, by the canonical ABI.

use wasmtime::{
    Result, bail,
    component::{
        __internal::{
            InterfaceType, LowerContext,
            wasmtime_environ::component::{TypeMapIndex, VariantInfo},
        },
        Lower, Val,
    },
};

use super::item::{flag_bytes, layout};

const OTHER_TYPE: &str = "a value of another type than the stream's";

/// Puts a value at a place.
pub(super) fn value<T>(
    cx: &mut LowerContext<'_, T>,
    ty: InterfaceType,
    at: usize,
    of: &Val,
) -> Result<()> {
    let types = cx.types;
    match (ty, of) {
        (InterfaceType::Bool, Val::Bool(of)) => plain(cx, ty, at, of),
        (InterfaceType::U8, Val::U8(of)) => plain(cx, ty, at, of),
        (InterfaceType::U16, Val::U16(of)) => plain(cx, ty, at, of),
        (InterfaceType::U32, Val::U32(of)) => plain(cx, ty, at, of),
        (InterfaceType::U64, Val::U64(of)) => plain(cx, ty, at, of),
        (InterfaceType::S8, Val::S8(of)) => plain(cx, ty, at, of),
        (InterfaceType::S16, Val::S16(of)) => plain(cx, ty, at, of),
        (InterfaceType::S32, Val::S32(of)) => plain(cx, ty, at, of),
        (InterfaceType::S64, Val::S64(of)) => plain(cx, ty, at, of),
        (InterfaceType::Float32, Val::Float32(of)) => plain(cx, ty, at, of),
        (InterfaceType::Float64, Val::Float64(of)) => plain(cx, ty, at, of),
        (InterfaceType::Char, Val::Char(of)) => plain(cx, ty, at, of),
        (InterfaceType::String, Val::String(of)) => plain(cx, ty, at, of),
        (InterfaceType::List(list), Val::List(values)) => {
            list_of(cx, types[list].element, at, values)
        }
        (InterfaceType::Map(map), Val::Map(entries)) => map_of(cx, map, at, entries),
        (InterfaceType::Record(record), Val::Record(values)) => {
            let fields = &types[record].fields;
            same(fields.len() == values.len())?;
            let mut end = 0;
            for (field, (name, one)) in fields.iter().zip(values) {
                same(*name == field.name)?;
                let offset = types.canonical_abi(&field.ty).next_field32(&mut end);
                value(cx, field.ty, at.saturating_add(usize::try_from(offset)?), one)?;
            }
            Ok(())
        }
        (InterfaceType::Tuple(tuple), Val::Tuple(values)) => {
            let types_of = &types[tuple].types;
            same(types_of.len() == values.len())?;
            let mut end = 0;
            for (ty, one) in types_of.iter().zip(values) {
                let offset = types.canonical_abi(ty).next_field32(&mut end);
                value(cx, *ty, at.saturating_add(usize::try_from(offset)?), one)?;
            }
            Ok(())
        }
        (InterfaceType::Variant(variant), Val::Variant(name, payload)) => {
            let variant = &types[variant];
            let found = variant.cases.get_full(name.as_str());
            let Some((index, _, ty)) = found else { bail!(OTHER_TYPE) };
            case(cx, &variant.info, at, index, (*ty, payload.as_deref()))
        }
        (InterfaceType::Enum(one), Val::Enum(name)) => {
            let one = &types[one];
            let Some(index) = one.names.get_index_of(name.as_str()) else { bail!(OTHER_TYPE) };
            case(cx, &one.info, at, index, (None, None))
        }
        (InterfaceType::Option(option), Val::Option(payload)) => {
            let option = &types[option];
            let ty = payload.as_ref().map(|_| option.ty);
            case(cx, &option.info, at, usize::from(payload.is_some()), (ty, payload.as_deref()))
        }
        (InterfaceType::Result(result), Val::Result(of)) => {
            let result = &types[result];
            let (index, ty, payload) = match of {
                Ok(payload) => (0, result.ok, payload),
                Err(payload) => (1, result.err, payload),
            };
            case(cx, &result.info, at, index, (ty, payload.as_deref()))
        }
        (InterfaceType::Flags(flags), Val::Flags(set)) => {
            let names = &types[flags].names;
            let mut bits = vec![0_u8; flag_bytes(names.len())];
            for name in set {
                let index = names.get_index_of(name.as_str());
                let byte = index.and_then(|index| bits.get_mut(index / 8));
                let (Some(index), Some(byte)) = (index, byte) else { bail!(OTHER_TYPE) };
                *byte |= 1 << (index % 8);
            }
            put(cx, at, &bits)
        }
        _ => bail!(OTHER_TYPE),
    }
}

fn plain<T, V: Lower>(
    cx: &mut LowerContext<'_, T>,
    ty: InterfaceType,
    at: usize,
    value: &V,
) -> Result<()> {
    // The library would panic on a place beyond the end.
    let size = layout(cx.types.canonical_abi(&ty))?.0;
    place(cx, at, size)?;
    value.linear_lower_to_memory(cx, ty, at)
}

fn list_of<T>(
    cx: &mut LowerContext<'_, T>,
    element: InterfaceType,
    at: usize,
    values: &[Val],
) -> Result<()> {
    let (size, align) = layout(cx.types.canonical_abi(&element))?;
    let start = room(cx, values.len(), size, align)?;
    if element == InterfaceType::U8 {
        let bytes = values.iter().map(|value| match value {
            Val::U8(byte) => Ok(*byte),
            _ => bail!(OTHER_TYPE),
        });
        put(cx, start, &bytes.collect::<Result<Vec<u8>>>()?)?;
    } else {
        for (index, one) in values.iter().enumerate() {
            value(cx, element, start.saturating_add(index.saturating_mul(size)), one)?;
        }
    }
    pointer(cx, at, start, values.len())
}

fn map_of<T>(
    cx: &mut LowerContext<'_, T>,
    map: TypeMapIndex,
    at: usize,
    entries: &[(Val, Val)],
) -> Result<()> {
    let map = &cx.types[map];
    let (size, align) = layout(&map.entry_abi)?;
    let value_at = usize::try_from(map.value_offset32)?;
    let start = room(cx, entries.len(), size, align)?;
    for (index, (key, one)) in entries.iter().enumerate() {
        let entry = start.saturating_add(index.saturating_mul(size));
        value(cx, map.key, entry, key)?;
        value(cx, map.value, entry.saturating_add(value_at), one)?;
    }
    pointer(cx, at, start, entries.len())
}

/// Room in the guest's memory for so many values.
fn room<T>(cx: &mut LowerContext<'_, T>, count: usize, size: usize, align: usize) -> Result<usize> {
    let Some(bytes) = count.checked_mul(size) else { bail!("a list that is too long") };
    cx.realloc(0, 0, u32::try_from(align)?, bytes)
}

fn pointer<T>(cx: &mut LowerContext<'_, T>, at: usize, start: usize, count: usize) -> Result<()> {
    let (start, count) = (u32::try_from(start)?, u32::try_from(count)?);
    put(cx, at, &start.to_le_bytes())?;
    put(cx, at.saturating_add(4), &count.to_le_bytes())
}

fn case<T>(
    cx: &mut LowerContext<'_, T>,
    info: &VariantInfo,
    at: usize,
    index: usize,
    payload: (Option<InterfaceType>, Option<&Val>),
) -> Result<()> {
    let index = u32::try_from(index)?.to_le_bytes();
    put(cx, at, index.get(..usize::from(info.size)).unwrap_or_default())?;
    match payload {
        (Some(ty), Some(one)) => {
            value(cx, ty, at.saturating_add(usize::try_from(info.payload_offset32)?), one)
        }
        (None, None) => Ok(()),
        _ => bail!(OTHER_TYPE),
    }
}

fn put<T>(cx: &mut LowerContext<'_, T>, at: usize, bytes: &[u8]) -> Result<()> {
    place(cx, at, bytes.len())?.copy_from_slice(bytes);
    Ok(())
}

fn place<'c, T>(cx: &'c mut LowerContext<'_, T>, at: usize, length: usize) -> Result<&'c mut [u8]> {
    let place = cx.as_slice_mut().get_mut(at..).and_then(|rest| rest.get_mut(..length));
    place.ok_or_else(|| wasmtime::Error::msg("a value beyond the end of memory"))
}

fn same(same: bool) -> Result<()> {
    if same { Ok(()) } else { bail!(OTHER_TYPE) }
}
