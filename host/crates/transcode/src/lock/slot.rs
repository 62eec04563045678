//! What a field may hold, as the lock records it: `u64`, `option<u32>`, `list<.acme.shapes.Point>`,
//! `map<string,bytes>`.

use std::{fmt, str::FromStr};

use crate::plan::{Body, FieldKind, HandlePlan, Scalar, Shape};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slot {
    One(Item),
    Optional(Item),
    List(Item),
    Map(Scalar, Item),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Scalar(Scalar),
    Bytes,
    /// A case without payload.
    Empty,
    /// Full protobuf name of a message or enum, without a leading dot.
    Type(String),
    /// The same of a handle that its resource goes with; others are a [`Self::Type`].
    Own(String),
}

impl Slot {
    pub(crate) fn item(&self) -> &Item {
        match self {
            Self::One(item) | Self::Optional(item) | Self::List(item) | Self::Map(_, item) => item,
        }
    }
}

impl Item {
    /// Whether it is a message or an enum, which have names.
    pub(crate) fn is_type(&self) -> bool {
        matches!(self, Self::Type(_) | Self::Own(_))
    }
}

impl From<&FieldKind> for Slot {
    fn from(kind: &FieldKind) -> Self {
        match kind {
            FieldKind::Singular(shape) => Self::One(shape.into()),
            FieldKind::Optional(shape) => Self::Optional(shape.into()),
            FieldKind::Repeated(shape) => Self::List(shape.into()),
            FieldKind::Map { key, value } => Self::Map(*key, value.into()),
        }
    }
}

impl From<&Shape> for Item {
    fn from(shape: &Shape) -> Self {
        match shape {
            Shape::Scalar(scalar) => Self::Scalar(*scalar),
            Shape::Bytes => Self::Bytes,
            Shape::Enum(plan) => Self::Type(plan.name.clone()),
            Shape::Message(plan) => match &plan.body {
                Body::Handle(HandlePlan { owned: true, .. }) => Self::Own(plan.name.clone()),
                _ => Self::Type(plan.name.clone()),
            },
        }
    }
}

const SCALARS: [(Scalar, &str); 13] = [
    (Scalar::Bool, "bool"),
    (Scalar::U8, "u8"),
    (Scalar::U16, "u16"),
    (Scalar::U32, "u32"),
    (Scalar::U64, "u64"),
    (Scalar::S8, "s8"),
    (Scalar::S16, "s16"),
    (Scalar::S32, "s32"),
    (Scalar::S64, "s64"),
    (Scalar::F32, "f32"),
    (Scalar::F64, "f64"),
    (Scalar::Char, "char"),
    (Scalar::String, "string"),
];

fn scalar(text: &str) -> Option<Scalar> {
    SCALARS.iter().find(|(_, name)| *name == text).map(|(scalar, _)| *scalar)
}

fn scalar_text(scalar: Scalar) -> &'static str {
    SCALARS.iter().find(|(one, _)| *one == scalar).map_or("", |(_, name)| name)
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(scalar) => f.write_str(scalar_text(*scalar)),
            Self::Bytes => f.write_str("bytes"),
            Self::Empty => f.write_str("empty"),
            Self::Type(name) => write!(f, ".{name}"),
            Self::Own(name) => write!(f, "own<.{name}>"),
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(item) => item.fmt(f),
            Self::Optional(item) => write!(f, "option<{item}>"),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::Map(key, item) => write!(f, "map<{},{item}>", scalar_text(*key)),
        }
    }
}

impl FromStr for Item {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "bytes" => Ok(Self::Bytes),
            "empty" => Ok(Self::Empty),
            _ => {
                let own = text.strip_prefix("own<.").and_then(|rest| rest.strip_suffix('>'));
                match own.or_else(|| text.strip_prefix('.')) {
                    Some(name) if !is_full_name(name) => Err(()),
                    Some(name) if own.is_some() => Ok(Self::Own(name.to_owned())),
                    Some(name) => Ok(Self::Type(name.to_owned())),
                    None => scalar(text).map(Self::Scalar).ok_or(()),
                }
            }
        }
    }
}

impl FromStr for Slot {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let inner = |prefix| text.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('>'));
        if let Some(item) = inner("option<") {
            Ok(Self::Optional(item.parse()?))
        } else if let Some(item) = inner("list<") {
            Ok(Self::List(item.parse()?))
        } else if let Some(entry) = inner("map<") {
            let (key, item) = entry.split_once(',').ok_or(())?;
            Ok(Self::Map(scalar(key).ok_or(())?, item.parse()?))
        } else {
            Ok(Self::One(text.parse()?))
        }
    }
}

fn is_full_name(text: &str) -> bool {
    text.split('.').all(is_identifier)
}

pub(crate) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_print_and_parse() {
        for text in [
            "u64",
            "char",
            "bytes",
            "empty",
            ".acme.shapes.v1.Point",
            "option<u32>",
            "list<.a.B.C>",
            "map<string,bytes>",
            "map<u8,.a.B>",
            "own<.a.B>",
            "option<own<.a.B>>",
        ] {
            assert_eq!(text.parse::<Slot>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "u65",
            ".",
            ".a..b",
            ".a b",
            "list<>",
            "map<u8>",
            "list<list<u8>>",
            "Point",
            "own<.>",
            "own<u8>",
            "own<own<.a>>",
        ] {
            assert!(bad.parse::<Slot>().is_err(), "{bad}");
        }
    }
}
