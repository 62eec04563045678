//! JSON schemas of the values that are written as text, for the schemas of Kubernetes objects.
//!
//! A schema refuses early what parsing refuses anyway; it never accepts less than parsing does.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{
    ByteRate, ByteSize, Digest, HostPort, MessageSize, Millicores, ModuleName, Span, Version,
};

/// Text of a form.
macro_rules! text {
    ($($type:ty, $most:literal, $pattern:literal;)*) => {$(
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "maxLength": $most, "pattern": $pattern})
            }
        }
    )*};
}

text! {
    ModuleName, 63, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
    Version, 64, r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$";
    Digest, 71, "^sha256:[0-9a-f]{64}$";
    HostPort, 300, "^.+:[0-9]+$";
    Span, 32, "^[0-9][0-9_]*(ms|s|m|h)$";
    ByteRate, 32, "^[0-9][0-9_]*(Ki|Mi|Gi|Ti|k|M|G|T)?/s$";
}

/// A number, or text with a unit.
macro_rules! quantity {
    ($($type:ty, $pattern:literal;)*) => {$(
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"x-kubernetes-int-or-string": true, "pattern": $pattern})
            }
        }
    )*};
}

quantity! {
    ByteSize, "^[0-9][0-9_]*(Ki|Mi|Gi|Ti|k|M|G|T)?$";
    MessageSize, "^(auto|[0-9][0-9_]*(Ki|Mi|Gi|Ti|k|M|G|T)?)$";
    Millicores, r"^([0-9]+m|[0-9]+(\.[0-9]{1,3})?)$";
}
