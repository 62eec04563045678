//! From a function's results to a response's bytes, and from its parameters to a request's.
//!
//! What implicit presence lets out is left out, numbers are packed, fields stand in the order of
//! their numbers: the same value always makes the same bytes.

use roadstead_domain::LimitReached;
use wasmtime::component::Val;

use super::{
    back::{BackWriter, WireType},
    handles::Handles,
    scalar::{Number, WireKind},
    wire::MAX_DEPTH,
};
use crate::plan::{
    Body, CasePlan, FieldKind, FieldPlan, MessagePlan, OutputPlan, ResponsePlan, Scalar, Shape,
};

/// Why a result is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The module's `output` or `host_copy`.
    #[error("the limit `{}` was reached", .0.limit.spec_field())]
    Limit(LimitReached),
    /// The value is not of the plan's type: the host gave one of the two wrong.
    #[error("the value does not fit the plan: {0}")]
    Mismatch(&'static str),
}

impl From<LimitReached> for EncodeError {
    fn from(reached: LimitReached) -> Self {
        Self::Limit(reached)
    }
}

type Written = Result<(), EncodeError>;

pub(super) struct Encoder<'b> {
    to: BackWriter<'b>,
    handles: &'b mut dyn Handles,
    /// Messages that are open around the one being written.
    depth: usize,
}

impl<'b> Encoder<'b> {
    pub(super) fn new(to: BackWriter<'b>, handles: &'b mut dyn Handles) -> Self {
        Self { to, handles, depth: 0 }
    }

    pub(super) fn finish(self) -> bytes::Bytes {
        self.to.finish()
    }

    /// The parameters of a function, which its callers give.
    pub(super) fn request(&mut self, plan: &MessagePlan, params: &[Val]) -> Written {
        let Body::Fields(fields) = &plan.body else {
            return Err(EncodeError::Mismatch("a request without parameters"));
        };
        self.fields(plan, fields, params)
    }

    pub(super) fn response(&mut self, plan: &ResponsePlan, results: &[Val]) -> Written {
        match (plan, results) {
            (ResponsePlan::Empty, []) => Ok(()),
            (ResponsePlan::Value(field), [value]) => self.field(field, value),
            (ResponsePlan::Result(plan), [value]) => self.body(plan, value),
            (ResponsePlan::Stream(_), _) => Err(EncodeError::Mismatch("a stream as one response")),
            _ => Err(EncodeError::Mismatch("the number of results")),
        }
    }

    pub(super) fn item(&mut self, plan: &OutputPlan, item: &Val) -> Written {
        match plan {
            OutputPlan::Items(field) => self.field(field, item),
            OutputPlan::OrError { item: case, .. } | OutputPlan::ThenError { item: case, .. } => {
                let shape = case.payload.as_ref();
                let shape = shape.ok_or(EncodeError::Mismatch("an item without a type"))?;
                self.always(case.number, shape, item)
            }
        }
    }

    /// What stands before the bytes of a chunk.
    pub(super) fn chunk_header(&mut self, plan: &OutputPlan, length: usize) -> Written {
        let number = match plan {
            OutputPlan::Items(field) => field.number,
            OutputPlan::OrError { item, .. } | OutputPlan::ThenError { item, .. } => item.number,
        };
        if !plan.is_bytes() {
            return Err(EncodeError::Mismatch("bytes as an item"));
        }
        Ok(self.to.header(length, number)?)
    }

    pub(super) fn error(&mut self, plan: &OutputPlan, error: &Option<Box<Val>>) -> Written {
        match plan {
            OutputPlan::OrError { error: case, .. } | OutputPlan::ThenError { error: case, .. } => {
                self.case(case, error)
            }
            OutputPlan::Items(_) => Err(EncodeError::Mismatch("an error")),
        }
    }

    /// A message as a field, with its tag and length.
    fn message(&mut self, number: u32, plan: &MessagePlan, value: &Val) -> Written {
        if self.depth == MAX_DEPTH {
            return Err(EncodeError::Mismatch("nested too deep"));
        }
        let before = self.to.len();
        self.depth += 1;
        let written = self.body(plan, value);
        self.depth -= 1;
        written?;
        Ok(self.to.length_since(before, number)?)
    }

    fn body(&mut self, plan: &MessagePlan, value: &Val) -> Written {
        match (&plan.body, value) {
            (Body::Record(fields), Val::Record(entries)) => self.record(plan, fields, entries),
            (Body::Fields(fields) | Body::Tuple(fields), Val::Tuple(values)) => {
                self.fields(plan, fields, values)
            }
            (Body::Flags(fields), Val::Flags(names)) => self.flags(plan, fields, names),
            (Body::Variant(cases), Val::Variant(name, payload)) => {
                let case = plan.named(name).and_then(|at| cases.get(at));
                self.case(case.ok_or(EncodeError::Mismatch("the name of a case"))?, payload)
            }
            (Body::Result { ok, error }, Val::Result(result)) => match result {
                Ok(payload) => self.case(ok, payload),
                Err(payload) => self.case(error, payload),
            },
            (Body::Wrapper(field), value) => self.field(field, value),
            (Body::Handle(handle), Val::Resource(resource)) => {
                let id = self.handles.id(handle, *resource)?;
                let before = self.to.len();
                self.to.bytes(&id)?;
                Ok(self.to.length_since(before, handle.number)?)
            }
            _ => Err(EncodeError::Mismatch("the kind of a value")),
        }
    }

    fn fields(&mut self, plan: &MessagePlan, fields: &[FieldPlan], values: &[Val]) -> Written {
        if fields.len() != values.len() {
            return Err(EncodeError::Mismatch("the size of a tuple"));
        }
        for at in plan.positions_downwards() {
            if let (Some(field), Some(value)) = (fields.get(at), values.get(at)) {
                self.field(field, value)?;
            }
        }
        Ok(())
    }

    fn record(
        &mut self,
        plan: &MessagePlan,
        fields: &[FieldPlan],
        entries: &[(String, Val)],
    ) -> Written {
        if fields.len() != entries.len() {
            return Err(EncodeError::Mismatch("the size of a record"));
        }
        for at in plan.positions_downwards() {
            if let (Some(field), Some((name, value))) = (fields.get(at), entries.get(at)) {
                if *name != field.wit_name {
                    return Err(EncodeError::Mismatch("the name of a field"));
                }
                self.field(field, value)?;
            }
        }
        Ok(())
    }

    fn flags(&mut self, plan: &MessagePlan, fields: &[FieldPlan], names: &[String]) -> Written {
        let mut set = vec![false; fields.len()];
        for name in names {
            let flag = plan.named(name).and_then(|at| set.get_mut(at));
            *flag.ok_or(EncodeError::Mismatch("the name of a flag"))? = true;
        }
        for at in plan.positions_downwards() {
            if let (Some(field), Some(true)) = (fields.get(at), set.get(at)) {
                self.tagged(field.number, Number::Varint(1))?;
            }
        }
        Ok(())
    }

    fn case(&mut self, case: &CasePlan, payload: &Option<Box<Val>>) -> Written {
        match (&case.payload, payload) {
            (Some(shape), Some(value)) => self.always(case.number, shape, value),
            (None, None) => Ok(self.to.length_since(self.to.len(), case.number)?),
            _ => Err(EncodeError::Mismatch("the payload of a case")),
        }
    }

    fn field(&mut self, field: &FieldPlan, value: &Val) -> Written {
        match (&field.kind, value) {
            (FieldKind::Singular(shape), value) if is_default(shape, value) => Ok(()),
            (FieldKind::Singular(shape), value) => self.always(field.number, shape, value),
            (FieldKind::Optional(_), Val::Option(None)) => Ok(()),
            (FieldKind::Optional(shape), Val::Option(Some(value))) => {
                self.always(field.number, shape, value)
            }
            (FieldKind::Repeated(shape), Val::List(values)) => {
                self.repeated(field.number, shape, values)
            }
            (FieldKind::Map { key, value: shape }, Val::Map(entries)) => {
                for (key_value, value) in entries.iter().rev() {
                    let before = self.to.len();
                    self.always(2, shape, value)?;
                    self.always(1, &Shape::Scalar(*key), key_value)?;
                    self.to.length_since(before, field.number)?;
                }
                Ok(())
            }
            _ => Err(EncodeError::Mismatch("the kind of a field")),
        }
    }

    fn repeated(&mut self, number: u32, shape: &Shape, values: &[Val]) -> Written {
        let before = self.to.len();
        for value in values.iter().rev() {
            match packable(shape, value)? {
                Some(packed) => self.to.number(packed)?,
                None => self.always(number, shape, value)?,
            }
        }
        if is_packed(shape) && !values.is_empty() {
            self.to.length_since(before, number)?;
        }
        Ok(())
    }

    /// A value with its tag, also where it is the default.
    fn always(&mut self, number: u32, shape: &Shape, value: &Val) -> Written {
        if let Some(packable) = packable(shape, value)? {
            return self.tagged(number, packable);
        }
        let before = self.to.len();
        match (shape, value) {
            (Shape::Message(plan), value) => return self.message(number, plan, value),
            (Shape::Scalar(Scalar::String), Val::String(text)) => self.to.bytes(text.as_bytes())?,
            (Shape::Scalar(Scalar::Char), Val::Char(char)) => {
                self.to.bytes(char.encode_utf8(&mut [0; 4]).as_bytes())?;
            }
            (Shape::Bytes, Val::List(values)) => {
                self.to.admit(values.len())?;
                for value in values.iter().rev() {
                    let Val::U8(byte) = value else {
                        return Err(EncodeError::Mismatch("the kind of a byte"));
                    };
                    self.to.admitted(*byte);
                }
            }
            _ => return Err(EncodeError::Mismatch("the kind of a value")),
        }
        Ok(self.to.length_since(before, number)?)
    }

    fn tagged(&mut self, field: u32, number: Number) -> Written {
        self.to.number(number)?;
        let wire_type = match number {
            Number::Varint(_) => WireType::Varint,
            Number::Fixed32(_) => WireType::Fixed32,
            Number::Fixed64(_) => WireType::Fixed64,
        };
        Ok(self.to.tag(field, wire_type)?)
    }
}

fn is_packed(shape: &Shape) -> bool {
    match shape {
        Shape::Scalar(scalar) => scalar.wire_kind() != WireKind::Text,
        Shape::Enum(_) => true,
        Shape::Bytes | Shape::Message(_) => false,
    }
}

/// The number that a value is on the wire; none for shapes that are not numbers.
fn packable(shape: &Shape, value: &Val) -> Result<Option<Number>, EncodeError> {
    let number = match (shape, value) {
        (Shape::Enum(plan), Val::Enum(name)) => {
            plan.number_of(name).map(|number| Number::Varint(i64::from(number).cast_unsigned()))
        }
        (Shape::Enum(_), _) => None,
        (Shape::Scalar(scalar), value) if is_packed(shape) => scalar.to_wire(value),
        _ => return Ok(None),
    };
    number.map(Some).ok_or(EncodeError::Mismatch("the kind of a number"))
}

/// Whether a value is what readers take a field for that is not there.
fn is_default(shape: &Shape, value: &Val) -> bool {
    match (shape, value) {
        (Shape::Scalar(Scalar::String), Val::String(text)) => text.is_empty(),
        (Shape::Scalar(scalar), value) => scalar.to_wire(value).is_some_and(Number::is_zero),
        (Shape::Bytes, Val::List(values)) => values.is_empty(),
        _ => false,
    }
}
