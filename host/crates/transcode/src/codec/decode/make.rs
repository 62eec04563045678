//! What a decoder makes of what it reads: values, or nothing where a request is only checked.

use roadstead_domain::LimitReached;
use wasmtime::component::Val;

use crate::codec::budget::CopyBudget;

/// What one value becomes. A decoder reads and judges the same whatever it makes.
pub(in crate::codec) trait Make: Sized {
    /// A text or name of its own.
    type Text;

    /// The text, counted.
    fn text(text: &str, budget: &mut CopyBudget) -> Result<Self::Text, LimitReached>;

    /// The elements of a `list<u8>`, counted.
    fn bytes(bytes: &[u8], budget: &mut CopyBudget) -> Result<Vec<Self>, LimitReached>;

    /// Counts the places for a message's fields where they are not counted with their values.
    fn places(fields: usize, budget: &mut CopyBudget) -> Result<(), LimitReached>;

    fn of(value: Value<Self>) -> Self;
}

/// A value whose parts were made before it.
pub(in crate::codec) enum Value<M: Make> {
    /// One that owns nothing.
    Plain(Val),
    String(M::Text),
    Enum(M::Text),
    Flags(Vec<M::Text>),
    List(Vec<M>),
    Tuple(Vec<M>),
    Record(Vec<(M::Text, M)>),
    /// Keys are always values: their order and their equality count.
    Map(Vec<(Val, M)>),
    Variant(M::Text, Option<Box<M>>),
    Option(Option<Box<M>>),
    Result(Result<Option<Box<M>>, Option<Box<M>>>),
}

impl Make for Val {
    type Text = String;

    fn text(text: &str, budget: &mut CopyBudget) -> Result<String, LimitReached> {
        budget.take(text.len())?;
        Ok(text.to_owned())
    }

    fn bytes(bytes: &[u8], budget: &mut CopyBudget) -> Result<Vec<Self>, LimitReached> {
        budget.take_many::<Self>(bytes.len())?;
        Ok(bytes.iter().copied().map(Self::U8).collect())
    }

    fn places(_: usize, _: &mut CopyBudget) -> Result<(), LimitReached> {
        Ok(())
    }

    #[inline]
    fn of(value: Value<Self>) -> Self {
        match value {
            Value::Plain(value) => value,
            Value::String(text) => Self::String(text),
            Value::Enum(name) => Self::Enum(name),
            Value::Flags(names) => Self::Flags(names),
            Value::List(elements) => Self::List(elements),
            Value::Tuple(values) => Self::Tuple(values),
            Value::Record(fields) => Self::Record(fields),
            Value::Map(entries) => Self::Map(entries),
            Value::Variant(name, payload) => Self::Variant(name, payload),
            Value::Option(value) => Self::Option(value),
            Value::Result(result) => Self::Result(result),
        }
    }
}

/// What a place for a field counts in a check: nothing is kept, but a message of two bytes may have
/// thousands of them, and time has its bounds, too.
const PLACE: usize = 8;

/// Stands for a value that is right. It takes no memory, and neither do lists and boxes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codec) struct Checked;

impl Make for Checked {
    type Text = ();

    fn text(_: &str, _: &mut CopyBudget) -> Result<(), LimitReached> {
        Ok(())
    }

    fn bytes(_: &[u8], _: &mut CopyBudget) -> Result<Vec<Self>, LimitReached> {
        Ok(Vec::new())
    }

    fn places(fields: usize, budget: &mut CopyBudget) -> Result<(), LimitReached> {
        budget.take(fields.saturating_mul(PLACE))
    }

    fn of(_: Value<Self>) -> Self {
        Self
    }
}
