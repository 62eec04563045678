//! WIT types as data: made at random, written as WIT text, and turned into plans by hand.

use std::{fmt::Write, sync::Arc};

use proptest::{collection::vec, option, prelude::*, sample::select};
use roadstead_transcode::{
    Action, Body, CasePlan, EnumPlan, ExportPath, FieldKind, FieldPlan, MessagePlan, MethodPlan,
    ResponsePlan, Scalar, Shape,
};

#[derive(Debug, Clone)]
pub(crate) enum Type {
    Scalar(Scalar),
    List(Box<Type>),
    Option(Box<Type>),
    Tuple(Vec<Type>),
    Map(Scalar, Box<Type>),
    Result(Option<Box<Type>>, Option<Box<Type>>),
    Record(Vec<Type>),
    Variant(Vec<Option<Type>>),
    Enum(usize),
    Flags(usize),
}

pub(crate) const SCALARS: [Scalar; 13] = [
    Scalar::Bool,
    Scalar::U8,
    Scalar::U16,
    Scalar::U32,
    Scalar::U64,
    Scalar::S8,
    Scalar::S16,
    Scalar::S32,
    Scalar::S64,
    Scalar::F32,
    Scalar::F64,
    Scalar::Char,
    Scalar::String,
];

pub(crate) fn any_type() -> impl Strategy<Value = Type> {
    let leaf = prop_oneof![
        4 => select(&SCALARS[..]).prop_map(Type::Scalar),
        1 => Just(list(Type::Scalar(Scalar::U8))),
        1 => prop_oneof![1_usize..6, Just(257), 300_usize..400].prop_map(Type::Enum),
        1 => (1_usize..=32).prop_map(Type::Flags),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        prop_oneof![
            boxed.clone().prop_map(Type::List),
            boxed.clone().prop_map(Type::Option),
            vec(inner.clone(), 1..4).prop_map(Type::Tuple),
            (any_key(), boxed.clone()).prop_map(|(key, value)| Type::Map(key, value)),
            (option::of(boxed.clone()), option::of(boxed))
                .prop_map(|(ok, error)| Type::Result(ok, error)),
            vec(inner.clone(), 1..5).prop_map(Type::Record),
            vec(option::of(inner), 1..5).prop_map(Type::Variant),
        ]
    })
}

fn any_key() -> impl Strategy<Value = Scalar> {
    let keys: Vec<_> =
        SCALARS.into_iter().filter(|scalar| !matches!(scalar, Scalar::F32 | Scalar::F64)).collect();
    select(keys)
}

pub(crate) fn list(of: Type) -> Type {
    Type::List(Box::new(of))
}

pub(crate) fn option(of: Type) -> Type {
    Type::Option(Box::new(of))
}

pub(crate) fn scalar_name(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Bool => "bool",
        Scalar::U8 => "u8",
        Scalar::U16 => "u16",
        Scalar::U32 => "u32",
        Scalar::U64 => "u64",
        Scalar::S8 => "s8",
        Scalar::S16 => "s16",
        Scalar::S32 => "s32",
        Scalar::S64 => "s64",
        Scalar::F32 => "f32",
        Scalar::F64 => "f64",
        Scalar::Char => "char",
        Scalar::String => "string",
    }
}

/// Writes a type's WIT text and, before it, the declarations that it needs.
#[derive(Debug, Default)]
pub(crate) struct WitText {
    pub(crate) declarations: String,
    count: usize,
}

impl WitText {
    pub(crate) fn write(&mut self, ty: &Type) -> String {
        match ty {
            Type::Scalar(scalar) => scalar_name(*scalar).to_owned(),
            Type::List(of) => format!("list<{}>", self.write(of)),
            Type::Option(of) => format!("option<{}>", self.write(of)),
            Type::Tuple(of) => {
                let of: Vec<_> = of.iter().map(|ty| self.write(ty)).collect();
                format!("tuple<{}>", of.join(", "))
            }
            Type::Map(key, value) => {
                format!("map<{}, {}>", scalar_name(*key), self.write(value))
            }
            Type::Result(None, None) => "result".to_owned(),
            Type::Result(Some(ok), None) => format!("result<{}>", self.write(ok)),
            Type::Result(ok, Some(error)) => {
                let ok = ok.as_ref().map_or_else(|| "_".to_owned(), |ok| self.write(ok));
                format!("result<{ok}, {}>", self.write(error))
            }
            Type::Record(fields) => {
                let fields: Vec<_> = fields.iter().map(|ty| self.write(ty)).collect();
                self.declare("record", fields.iter().enumerate(), |(at, ty)| {
                    format!("{}: {ty}", member(at))
                })
            }
            Type::Variant(cases) => {
                let cases: Vec<_> =
                    cases.iter().map(|ty| ty.as_ref().map(|ty| self.write(ty))).collect();
                self.declare("variant", cases.iter().enumerate(), |(at, ty)| match ty {
                    Some(ty) => format!("{}({ty})", member(at)),
                    None => member(at),
                })
            }
            Type::Enum(count) => self.declare("enum", 0..*count, member),
            Type::Flags(count) => self.declare("flags", 0..*count, member),
        }
    }

    fn declare<T>(
        &mut self,
        keyword: &str,
        members: impl Iterator<Item = T>,
        text: impl Fn(T) -> String,
    ) -> String {
        self.count += 1;
        let name = format!("t{}", self.count);
        let members: Vec<_> = members.map(text).collect();
        writeln!(self.declarations, "  {keyword} {name} {{ {} }}", members.join(", ")).unwrap();
        name
    }
}

/// The WIT name of a record's field, a variant's or enum's case, or a flag.
pub(crate) fn member(at: usize) -> String {
    format!("m-x{at}")
}

/// Makes plans without a schema: numbers by order, names by position.
#[derive(Debug, Default)]
pub(crate) struct Planner {
    count: usize,
}

impl Planner {
    /// A method that takes and gives one value of a type.
    pub(crate) fn method(ty: &Type) -> MethodPlan {
        let mut planner = Self::default();
        let field = planner.field(0, "value", ty);
        MethodPlan {
            action: Action::Call,
            service: "test.Service".to_owned(),
            method: "Echo".to_owned(),
            export: ExportPath { interface: None, function: "echo".to_owned() },
            request: Arc::new(MessagePlan::new(
                "test.EchoRequest",
                Body::Fields(vec![field.clone()]),
            )),
            input: None,
            response: ResponsePlan::Value(field),
        }
    }

    fn field(&mut self, at: usize, name: &str, ty: &Type) -> FieldPlan {
        FieldPlan {
            number: u32::try_from(at).unwrap() + 1,
            wit_name: name.to_owned(),
            proto_name: name.replace('-', "_"),
            kind: self.kind(ty),
        }
    }

    fn kind(&mut self, ty: &Type) -> FieldKind {
        match ty {
            Type::List(of) if !is_byte(of) => FieldKind::Repeated(self.shape(of)),
            Type::Option(of) => FieldKind::Optional(self.shape(of)),
            Type::Map(key, value) => FieldKind::Map { key: *key, value: self.shape(value) },
            ty => FieldKind::Singular(self.shape(ty)),
        }
    }

    fn shape(&mut self, ty: &Type) -> Shape {
        let body = match ty {
            Type::Scalar(scalar) => return Shape::Scalar(*scalar),
            Type::List(of) if is_byte(of) => return Shape::Bytes,
            Type::Enum(count) => {
                let cases = (0..*count).map(|at| (i32::try_from(at).unwrap() + 1, member(at)));
                return Shape::Enum(Arc::new(EnumPlan::new(self.name(), cases.collect())));
            }
            Type::List(_) => Body::Wrapper(self.field(0, "items", ty)),
            Type::Option(_) => Body::Wrapper(self.field(0, "value", ty)),
            Type::Map(..) => Body::Wrapper(self.field(0, "entries", ty)),
            Type::Tuple(of) => Body::Tuple(self.members(of, |at| format!("f{at}"))),
            Type::Record(of) => Body::Record(self.members(of, member)),
            Type::Flags(count) => {
                Body::Flags(self.members(&vec![Type::Scalar(Scalar::Bool); *count], member))
            }
            Type::Variant(cases) => Body::Variant(
                (0..).zip(cases).map(|(at, ty)| self.case(at, &member(at), ty.as_ref())).collect(),
            ),
            Type::Result(ok, error) => Body::Result {
                ok: self.case(0, "ok", ok.as_deref()),
                error: self.case(1, "error", error.as_deref()),
            },
        };
        Shape::Message(Arc::new(MessagePlan::new(self.name(), body)))
    }

    fn members(&mut self, types: &[Type], name: impl Fn(usize) -> String) -> Vec<FieldPlan> {
        (0..).zip(types).map(|(at, ty)| self.field(at, &name(at), ty)).collect()
    }

    fn case(&mut self, at: usize, name: &str, ty: Option<&Type>) -> CasePlan {
        CasePlan {
            number: u32::try_from(at).unwrap() + 1,
            wit_name: name.to_owned(),
            proto_name: name.replace('-', "_"),
            payload: ty.map(|ty| self.shape(ty)),
        }
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("test.T{}", self.count)
    }
}

fn is_byte(ty: &Type) -> bool {
    matches!(ty, Type::Scalar(Scalar::U8))
}
