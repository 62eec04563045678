//! The types of methods as the canonical ABI lays them out in memory, made from their plans.
//!
//! What stands here can be served: whatever cannot is refused while it is made, with the reason.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use roadstead_transcode::{
    Body, CasePlan, EnumPlan, FieldKind, FieldPlan, MessagePlan, MethodPlan, ResponsePlan, Scalar,
    Shape,
};
use wasm_encoder::ValType;

use crate::Unserved;

/// Bytes that one value may take where it lies, without what it points to.
const MAX_SIZE: u32 = 1 << 16;

/// Fields and cases of one message.
const MAX_MEMBERS: usize = 1000;

/// Fields, cases and enum values of all methods together: what bounds the code that is made.
const MAX_WEIGHT: usize = 20_000;

/// As deep as messages may be nested for the dynamic path.
const MAX_DEPTH: u32 = 90;

/// More core values than this travel through memory.
pub(crate) const MAX_FLAT: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) size: u32,
    /// A power of two.
    pub(crate) align: u32,
}

/// The core values that a value is as parameter or result; none where they are more than
/// [`MAX_FLAT`].
pub(crate) type Flat = Option<Vec<ValType>>;

/// One value, without regard to how often it may stand.
#[derive(Debug, Clone)]
pub(crate) enum Ty {
    Scalar(Scalar),
    /// `list<u8>`.
    Bytes,
    Enum(Rc<EnumTy>),
    Message(Rc<MessageTy>),
}

#[derive(Debug)]
pub(crate) struct EnumTy {
    pub(crate) id: usize,
    /// Of every case, in declaration order.
    pub(crate) numbers: Vec<u32>,
    /// 1, 2 or 4 bytes.
    pub(crate) size: u32,
}

#[derive(Debug)]
pub(crate) struct MessageTy {
    pub(crate) id: usize,
    pub(crate) kind: Kind,
    pub(crate) layout: Layout,
    pub(crate) flat: Flat,
    depth: u32,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Struct(Vec<Field>),
    /// The numbers of all flags.
    Flags(Vec<u32>),
    Oneof(Oneof),
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    pub(crate) ty: FieldTy,
    pub(crate) offset: u32,
}

#[derive(Debug, Clone)]
pub(crate) enum FieldTy {
    Singular(Ty),
    Optional(Ty),
    Repeated(Ty),
}

#[derive(Debug)]
pub(crate) struct Oneof {
    pub(crate) cases: Vec<Case>,
    /// Bytes of the discriminant: 1, 2 or 4.
    pub(crate) size: u32,
    pub(crate) payload: u32,
}

#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) number: u32,
    pub(crate) payload: Option<Ty>,
}

/// The types of one method.
#[derive(Debug)]
pub(crate) struct Signature {
    /// Always a [`Kind::Struct`].
    pub(crate) request: Rc<MessageTy>,
    pub(crate) response: Response,
}

#[derive(Debug)]
pub(crate) enum Response {
    Empty,
    /// A message with one field, which is the whole value: a [`Kind::Struct`].
    Value(Rc<MessageTy>),
    /// The message is the value itself.
    Result(Rc<MessageTy>),
}

impl Response {
    pub(crate) fn message(&self) -> Option<&Rc<MessageTy>> {
        match self {
            Self::Empty => None,
            Self::Value(message) | Self::Result(message) => Some(message),
        }
    }
}

/// Makes types of plans; each named type once.
#[derive(Default)]
pub(crate) struct Types {
    /// With the plan itself, so that its address stays its own.
    messages: HashMap<*const MessagePlan, (Arc<MessagePlan>, Rc<MessageTy>)>,
    enums: HashMap<*const EnumPlan, (Arc<EnumPlan>, Rc<EnumTy>)>,
    weight: usize,
    next: usize,
}

type Made<T> = Result<T, Unserved>;

impl Types {
    pub(crate) fn signature(&mut self, plan: &MethodPlan) -> Made<Signature> {
        if plan.input.is_some() {
            return Err(Unserved::Stream);
        }
        let request = self.message(&plan.request)?;
        let response = match &plan.response {
            ResponsePlan::Empty => Response::Empty,
            ResponsePlan::Value(field) => {
                let (kind, layout, flat, depth) = self.structure([field])?;
                Response::Value(Rc::new(MessageTy { id: self.id(), kind, layout, flat, depth }))
            }
            ResponsePlan::Result(message) => Response::Result(self.message(message)?),
            ResponsePlan::Stream(_) => return Err(Unserved::Stream),
        };
        Ok(Signature { request, response })
    }

    fn id(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    fn weigh(&mut self, members: usize) -> Made<()> {
        self.weight = self.weight.saturating_add(members + 1);
        if MAX_WEIGHT < self.weight { Err(Unserved::TooLarge) } else { Ok(()) }
    }

    fn message(&mut self, plan: &Arc<MessagePlan>) -> Made<Rc<MessageTy>> {
        if let Some((_, known)) = self.messages.get(&Arc::as_ptr(plan)) {
            return Ok(Rc::clone(known));
        }
        let (kind, layout, flat, depth) = match &plan.body {
            Body::Fields(fields) | Body::Record(fields) | Body::Tuple(fields) => {
                self.structure(fields)?
            }
            Body::Wrapper(field) => self.structure([field])?,
            Body::Flags(fields) => {
                self.weigh(fields.len())?;
                let size = match fields.len() {
                    ..=8 => 1,
                    9..=16 => 2,
                    17..=32 => 4,
                    _ => return Err(Unserved::TooLarge),
                };
                let numbers = fields.iter().map(|field| field.number).collect();
                let layout = Layout { size, align: size };
                (Kind::Flags(numbers), layout, Some(vec![ValType::I32]), 1)
            }
            Body::Variant(cases) => self.oneof(cases.iter())?,
            Body::Result { ok, error } => self.oneof([ok, error].into_iter())?,
            Body::Handle(_) => return Err(Unserved::Handle),
        };
        if MAX_SIZE < layout.size || MAX_DEPTH < depth {
            return Err(Unserved::TooLarge);
        }
        let made = Rc::new(MessageTy { id: self.id(), kind, layout, flat, depth });
        self.messages.insert(Arc::as_ptr(plan), (Arc::clone(plan), Rc::clone(&made)));
        Ok(made)
    }

    fn structure<'p>(
        &mut self,
        fields: impl IntoIterator<Item = &'p FieldPlan>,
    ) -> Made<(Kind, Layout, Flat, u32)> {
        let mut made = Vec::new();
        let mut layout = Layout { size: 0, align: 1 };
        let mut flat = Some(Vec::new());
        let mut depth = 0;
        for field in fields {
            let ty = match &field.kind {
                FieldKind::Singular(shape) => FieldTy::Singular(self.shape(shape)?),
                FieldKind::Optional(shape) => FieldTy::Optional(self.shape(shape)?),
                FieldKind::Repeated(shape) => FieldTy::Repeated(self.shape(shape)?),
                FieldKind::Map { .. } => return Err(Unserved::Map),
            };
            let own = ty.layout();
            let offset = align_to(layout.size, own.align);
            layout = Layout {
                size: offset.saturating_add(own.size),
                align: layout.align.max(own.align),
            };
            flat = joined(flat, ty.flat());
            depth = depth.max(ty.inner().depth() + 1);
            made.push(Field { number: field.number, ty, offset });
            if MAX_MEMBERS < made.len() || MAX_SIZE < layout.size {
                return Err(Unserved::TooLarge);
            }
        }
        self.weigh(made.len())?;
        layout.size = align_to(layout.size, layout.align);
        Ok((Kind::Struct(made), layout, flat, depth))
    }

    fn oneof<'p>(
        &mut self,
        plans: impl Iterator<Item = &'p CasePlan>,
    ) -> Made<(Kind, Layout, Flat, u32)> {
        let mut cases = Vec::new();
        let mut depth = 1;
        let (mut size, mut align) = (0, 1);
        let mut flat = Some(Vec::new());
        for plan in plans {
            let payload = plan.payload.as_ref().map(|shape| self.shape(shape)).transpose()?;
            if let Some(ty) = &payload {
                let own = ty.layout();
                (size, align) = (own.size.max(size), own.align.max(align));
                flat = merged(flat, ty.flat());
                depth = depth.max(ty.depth() + 1);
            }
            cases.push(Case { number: plan.number, payload });
            if MAX_MEMBERS < cases.len() {
                return Err(Unserved::TooLarge);
            }
        }
        self.weigh(cases.len())?;
        let discriminant = discriminant_size(cases.len());
        let layout = variant_layout(discriminant, Layout { size, align });
        let payload = align_to(discriminant, align);
        let flat = joined(Some(vec![ValType::I32]), flat);
        Ok((Kind::Oneof(Oneof { cases, size: discriminant, payload }), layout, flat, depth))
    }

    fn shape(&mut self, shape: &Shape) -> Made<Ty> {
        Ok(match shape {
            Shape::Scalar(scalar) => Ty::Scalar(*scalar),
            Shape::Bytes => Ty::Bytes,
            Shape::Enum(plan) => Ty::Enum(self.enumeration(plan)?),
            Shape::Message(plan) => Ty::Message(self.message(plan)?),
        })
    }

    fn enumeration(&mut self, plan: &Arc<EnumPlan>) -> Made<Rc<EnumTy>> {
        if let Some((_, known)) = self.enums.get(&Arc::as_ptr(plan)) {
            return Ok(Rc::clone(known));
        }
        self.weigh(plan.cases.len())?;
        let numbers = plan.cases.iter().map(|(number, _)| u32::try_from(*number).ok());
        let numbers: Option<Vec<u32>> = numbers.collect();
        let numbers = numbers.ok_or(Unserved::TooLarge)?;
        let size = discriminant_size(numbers.len());
        let made = Rc::new(EnumTy { id: self.id(), numbers, size });
        self.enums.insert(Arc::as_ptr(plan), (Arc::clone(plan), Rc::clone(&made)));
        Ok(made)
    }
}

impl Ty {
    pub(crate) fn layout(&self) -> Layout {
        let size = match self {
            Self::Scalar(scalar) => match scalar {
                Scalar::Bool | Scalar::U8 | Scalar::S8 => 1,
                Scalar::U16 | Scalar::S16 => 2,
                Scalar::U32 | Scalar::S32 | Scalar::F32 | Scalar::Char => 4,
                Scalar::U64 | Scalar::S64 | Scalar::F64 => 8,
                Scalar::String => return Layout { size: 8, align: 4 },
            },
            Self::Bytes => return Layout { size: 8, align: 4 },
            Self::Enum(of) => of.size,
            Self::Message(message) => return message.layout,
        };
        Layout { size, align: size }
    }

    pub(crate) fn flat(&self) -> Flat {
        Some(match self {
            Self::Scalar(scalar) => match scalar {
                Scalar::U64 | Scalar::S64 => vec![ValType::I64],
                Scalar::F32 => vec![ValType::F32],
                Scalar::F64 => vec![ValType::F64],
                Scalar::String => vec![ValType::I32; 2],
                _ => vec![ValType::I32],
            },
            Self::Bytes => vec![ValType::I32; 2],
            Self::Enum(_) => vec![ValType::I32],
            Self::Message(message) => return message.flat.clone(),
        })
    }

    fn depth(&self) -> u32 {
        if let Self::Message(message) = self { message.depth } else { 0 }
    }

    /// Numbers, which stand packed in lists.
    pub(crate) fn is_packed(&self) -> bool {
        match self {
            Self::Scalar(scalar) => !matches!(scalar, Scalar::Char | Scalar::String),
            Self::Enum(_) => true,
            Self::Bytes | Self::Message(_) => false,
        }
    }

    /// The wire type of a single one.
    pub(crate) fn wire_type(&self) -> u32 {
        match self {
            Self::Scalar(Scalar::F32) => 5,
            Self::Scalar(Scalar::F64) => 1,
            Self::Scalar(Scalar::Char | Scalar::String) | Self::Bytes | Self::Message(_) => 2,
            Self::Scalar(_) | Self::Enum(_) => 0,
        }
    }

    /// Whether a field that is not there has no value to stand for it.
    pub(crate) fn is_required(&self) -> bool {
        match self {
            // The empty text that protobuf puts in the place of a `char` is refused.
            Self::Scalar(Scalar::Char) | Self::Enum(_) => true,
            Self::Scalar(_) | Self::Bytes => false,
            Self::Message(message) => !matches!(message.kind, Kind::Flags(_)),
        }
    }
}

impl FieldTy {
    pub(crate) fn inner(&self) -> &Ty {
        match self {
            Self::Singular(ty) | Self::Optional(ty) | Self::Repeated(ty) => ty,
        }
    }

    fn layout(&self) -> Layout {
        match self {
            Self::Singular(ty) => ty.layout(),
            Self::Optional(ty) => variant_layout(1, ty.layout()),
            Self::Repeated(_) => Layout { size: 8, align: 4 },
        }
    }

    fn flat(&self) -> Flat {
        match self {
            Self::Singular(ty) => ty.flat(),
            Self::Optional(ty) => joined(Some(vec![ValType::I32]), ty.flat()),
            Self::Repeated(_) => Some(vec![ValType::I32; 2]),
        }
    }

    /// The wire type of its first occurrence.
    pub(crate) fn wire_type(&self) -> u32 {
        match self {
            Self::Repeated(ty) if ty.is_packed() => 2,
            ty => ty.inner().wire_type(),
        }
    }

    pub(crate) fn is_required(&self) -> bool {
        matches!(self, Self::Singular(ty) if ty.is_required())
    }
}

pub(crate) fn align_to(offset: u32, align: u32) -> u32 {
    offset.checked_next_multiple_of(align).unwrap_or(u32::MAX)
}

fn discriminant_size(cases: usize) -> u32 {
    match cases {
        ..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}

fn variant_layout(discriminant: u32, payload: Layout) -> Layout {
    let align = discriminant.max(payload.align);
    let end = align_to(discriminant, payload.align).saturating_add(payload.size);
    Layout { size: align_to(end, align), align }
}

/// One after the other.
fn joined(first: Flat, second: Flat) -> Flat {
    let mut all = first?;
    all.extend(second?);
    (all.len() <= MAX_FLAT).then_some(all)
}

/// One or the other, in the same core values.
fn merged(left: Flat, right: Flat) -> Flat {
    let (mut left, right) = (left?, right?);
    for (at, ty) in right.into_iter().enumerate() {
        match left.get_mut(at) {
            Some(known) => *known = common(*known, ty),
            None => left.push(ty),
        }
    }
    Some(left)
}

/// The core type that holds values of both.
fn common(left: ValType, right: ValType) -> ValType {
    match (left, right) {
        (left, right) if left == right => left,
        (ValType::I32, ValType::F32) | (ValType::F32, ValType::I32) => ValType::I32,
        _ => ValType::I64,
    }
}
