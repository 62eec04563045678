//! Values of a type, made at random.

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::subsequence,
};
use roadstead_transcode::Scalar;
use wasmtime::component::Val;

use crate::types::{Type, any_type, member};

/// A type and one of its values.
pub(crate) fn typed_value() -> impl Strategy<Value = (Type, Val)> {
    any_type().prop_flat_map(|ty| {
        let value = value(&ty);
        (Just(ty), value)
    })
}

pub(crate) fn value(ty: &Type) -> BoxedStrategy<Val> {
    match ty {
        Type::Scalar(of) => scalar(*of),
        Type::List(of) => vec(value(of), 0..4).prop_map(Val::List).boxed(),
        Type::Option(of) => {
            option::of(value(of)).prop_map(|of| Val::Option(of.map(Box::new))).boxed()
        }
        Type::Tuple(of) => of.iter().map(value).collect::<Vec<_>>().prop_map(Val::Tuple).boxed(),
        Type::Map(key, of) => btree_map(ordered_key(*key), value(of), 0..4)
            .prop_map(|entries| {
                Val::Map(entries.into_iter().map(|(key, value)| (key.0, value)).collect())
            })
            .boxed(),
        Type::Result(ok, error) => prop_oneof![
            payload(ok.as_deref()).prop_map(|ok| Val::Result(Ok(ok))),
            payload(error.as_deref()).prop_map(|error| Val::Result(Err(error))),
        ]
        .boxed(),
        Type::Record(fields) => fields
            .iter()
            .enumerate()
            .map(|(at, ty)| value(ty).prop_map(move |value| (member(at), value)))
            .collect::<Vec<_>>()
            .prop_map(Val::Record)
            .boxed(),
        Type::Variant(cases) => {
            let cases = cases.iter().enumerate().map(|(at, ty)| {
                payload(ty.as_ref())
                    .prop_map(move |payload| Val::Variant(member(at), payload))
                    .boxed()
            });
            proptest::strategy::Union::new(cases).boxed()
        }
        Type::Enum(count) => (0..*count).prop_map(|at| Val::Enum(member(at))).boxed(),
        Type::Flags(count) => {
            let names: Vec<_> = (0..*count).map(member).collect();
            subsequence(names, 0..=*count).prop_map(Val::Flags).boxed()
        }
    }
}

fn payload(ty: Option<&Type>) -> BoxedStrategy<Option<Box<Val>>> {
    match ty {
        Some(ty) => value(ty).prop_map(|value| Some(Box::new(value))).boxed(),
        None => Just(None).boxed(),
    }
}

fn scalar(of: Scalar) -> BoxedStrategy<Val> {
    match of {
        Scalar::Bool => any::<bool>().prop_map(Val::Bool).boxed(),
        Scalar::U8 => any::<u8>().prop_map(Val::U8).boxed(),
        Scalar::U16 => any::<u16>().prop_map(Val::U16).boxed(),
        Scalar::U32 => prop_oneof![any::<u32>(), 0_u32..3].prop_map(Val::U32).boxed(),
        Scalar::U64 => prop_oneof![any::<u64>(), 0_u64..3].prop_map(Val::U64).boxed(),
        Scalar::S8 => any::<i8>().prop_map(Val::S8).boxed(),
        Scalar::S16 => any::<i16>().prop_map(Val::S16).boxed(),
        Scalar::S32 => prop_oneof![any::<i32>(), -2_i32..3].prop_map(Val::S32).boxed(),
        Scalar::S64 => prop_oneof![any::<i64>(), -2_i64..3].prop_map(Val::S64).boxed(),
        // Of all bits, so infinities, subnormal numbers and strange NaNs are among them.
        Scalar::F32 => prop_oneof![any::<u32>().prop_map(f32::from_bits), Just(-0.0), Just(0.0)]
            .prop_map(Val::Float32)
            .boxed(),
        Scalar::F64 => prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            Just(f64::from_bits(0xfff0_0000_0000_0001)),
            Just(-0.0),
            Just(0.0)
        ]
        .prop_map(Val::Float64)
        .boxed(),
        Scalar::Char => any::<char>().prop_map(Val::Char).boxed(),
        Scalar::String => any::<String>().prop_map(Val::String).boxed(),
    }
}

/// A key that has an order.
#[derive(Debug, Clone, PartialEq)]
struct Key(Val);

impl Eq for Key {}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let number = |value: &Val| match value {
            Val::Bool(value) => i128::from(*value),
            Val::U8(value) => i128::from(*value),
            Val::U16(value) => i128::from(*value),
            Val::U32(value) => i128::from(*value),
            Val::U64(value) => i128::from(*value),
            Val::S8(value) => i128::from(*value),
            Val::S16(value) => i128::from(*value),
            Val::S32(value) => i128::from(*value),
            Val::S64(value) => i128::from(*value),
            Val::Char(value) => i128::from(u32::from(*value)),
            _ => 0,
        };
        let text = |value: &Val| match value {
            Val::String(text) => text.clone(),
            _ => String::new(),
        };
        (number(&self.0), text(&self.0)).cmp(&(number(&other.0), text(&other.0)))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

fn ordered_key(of: Scalar) -> BoxedStrategy<Key> {
    scalar(of).prop_map(Key).boxed()
}
