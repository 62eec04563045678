//! Single numbers and texts, between their wire form and `Val`.

use wasmtime::component::Val;

use crate::plan::Scalar;

/// How a scalar lies on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireKind {
    Varint,
    Fixed32,
    Fixed64,
    Text,
}

/// A number as it lies on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
}

impl Number {
    pub(super) fn is_zero(self) -> bool {
        matches!(self, Self::Varint(0) | Self::Fixed32(0) | Self::Fixed64(0))
    }
}

/// The one NaN that crosses the border.
const NAN_32: f32 = f32::from_bits(0x7fc0_0000);
const NAN_64: f64 = f64::from_bits(0x7ff8_0000_0000_0000);

impl Scalar {
    pub(super) fn wire_kind(self) -> WireKind {
        match self {
            Self::F32 => WireKind::Fixed32,
            Self::F64 => WireKind::Fixed64,
            Self::Char | Self::String => WireKind::Text,
            Self::Bool
            | Self::U8
            | Self::U16
            | Self::U32
            | Self::U64
            | Self::S8
            | Self::S16
            | Self::S32
            | Self::S64 => WireKind::Varint,
        }
    }

    /// The value of the bits that stood on the wire, or what would have been right.
    ///
    /// A varint that is longer than its type has its upper bits cut off, as protobuf has it.
    pub(super) fn number(self, bits: u64) -> Result<Val, &'static str> {
        Ok(match self {
            Self::Bool => Val::Bool(bits != 0),
            Self::U8 => Val::U8(u8::try_from(low(bits)).map_err(|_| "must be 0 to 255")?),
            Self::U16 => Val::U16(u16::try_from(low(bits)).map_err(|_| "must be 0 to 65535")?),
            Self::U32 => Val::U32(low(bits)),
            Self::U64 => Val::U64(bits),
            Self::S8 => Val::S8(i8::try_from(unzigzag(bits)).map_err(|_| "must be -128 to 127")?),
            Self::S16 => {
                Val::S16(i16::try_from(unzigzag(bits)).map_err(|_| "must be -32768 to 32767")?)
            }
            Self::S32 => Val::S32(unzigzag(bits)),
            Self::S64 => {
                Val::S64((bits >> 1).cast_signed() ^ (bits & 1).cast_signed().wrapping_neg())
            }
            Self::F32 => Val::Float32(canonical_32(f32::from_bits(low(bits)))),
            Self::F64 => Val::Float64(canonical_64(f64::from_bits(bits))),
            Self::Char | Self::String => return Err("must be text"),
        })
    }

    /// The wire form of a number; none where the value is of another type.
    pub(super) fn to_wire(self, value: &Val) -> Option<Number> {
        Some(match (self, value) {
            (Self::Bool, Val::Bool(value)) => Number::Varint(u64::from(*value)),
            (Self::U8, Val::U8(value)) => Number::Varint(u64::from(*value)),
            (Self::U16, Val::U16(value)) => Number::Varint(u64::from(*value)),
            (Self::U32, Val::U32(value)) => Number::Varint(u64::from(*value)),
            (Self::U64, Val::U64(value)) => Number::Varint(*value),
            (Self::S8, Val::S8(value)) => Number::Varint(zigzag(i64::from(*value))),
            (Self::S16, Val::S16(value)) => Number::Varint(zigzag(i64::from(*value))),
            (Self::S32, Val::S32(value)) => Number::Varint(zigzag(i64::from(*value))),
            (Self::S64, Val::S64(value)) => Number::Varint(zigzag(*value)),
            (Self::F32, Val::Float32(value)) => Number::Fixed32(canonical_32(*value).to_bits()),
            (Self::F64, Val::Float64(value)) => Number::Fixed64(canonical_64(*value).to_bits()),
            _ => return None,
        })
    }
}

/// The 32 bits that count of an enum's or a short number's varint.
pub(super) fn low(bits: u64) -> u32 {
    let [a, b, c, d, ..] = bits.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn unzigzag(bits: u64) -> i32 {
    let bits = low(bits);
    (bits >> 1).cast_signed() ^ (bits & 1).cast_signed().wrapping_neg()
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn canonical_32(value: f32) -> f32 {
    if value.is_nan() { NAN_32 } else { value }
}

fn canonical_64(value: f64) -> f64 {
    if value.is_nan() { NAN_64 } else { value }
}
