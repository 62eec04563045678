//! Where a function's streams and futures stand, and what is left of it without them.
//!
//! A stream is a parameter or the result, alone or in one of the two idioms that carry an error
//! beside it; a future is the result. Anywhere else they have no place on the wire.

use wit_parser::{Function, Type, TypeDefKind};

use super::types::Types;

/// A function as its messages see it.
pub(super) struct Signature<'a> {
    /// The parameters but for the stream.
    pub(super) params: Vec<(&'a str, Type)>,
    pub(super) input: Option<Input>,
    pub(super) output: Output,
}

/// A stream that callers send.
pub(super) struct Input {
    pub(super) position: usize,
    pub(super) item: StreamItem,
    /// `tuple<stream<T>, future<result<_, E>>>`.
    pub(super) settles: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Output {
    /// One response, for which a future may be waited.
    One(Option<Type>),
    Items(StreamItem),
    OrError(StreamItem, Option<Type>),
    ThenError(StreamItem, Option<Type>),
}

/// What a stream is of.
#[derive(Debug, Clone, Copy)]
pub(super) enum StreamItem {
    /// `u8`: chunks of bytes.
    Chunk,
    Value(Type),
}

/// How a type contains a stream.
enum Flow {
    Alone(StreamItem),
    /// `result<stream<T>, E>`
    OrError(StreamItem, Option<Type>),
    /// `tuple<stream<T>, future<result<_, E>>>`
    ThenError(StreamItem, Option<Type>),
}

const NO_ITEMS: &str = "a stream without items cannot be mapped";

impl<'a> Signature<'a> {
    /// Takes a function apart.
    ///
    /// # Errors
    /// Why it cannot be an rpc, as far as the places of its streams are concerned.
    pub(super) fn of(function: &'a Function, types: &Types<'_>) -> Result<Self, String> {
        let mut params = Vec::with_capacity(function.params.len());
        let mut input = None;
        for (position, param) in function.params.iter().enumerate() {
            let (item, settles) = match flow(param.ty, types)? {
                None | Some(Flow::OrError(..)) => {
                    params.push((param.name.as_str(), param.ty));
                    continue;
                }
                Some(Flow::Alone(item)) => (item, false),
                Some(Flow::ThenError(item, _)) => (item, true),
            };
            if input.replace(Input { position, item, settles }).is_some() {
                return Err("it takes more than one stream".to_owned());
            }
        }
        let output = function.result.map_or(Ok(Output::One(None)), |ty| output(ty, types))?;
        Ok(Self { params, input, output })
    }

    /// All types that its messages are made of.
    pub(super) fn types(&self) -> impl Iterator<Item = Type> {
        let params = self.params.iter().map(|(_, ty)| *ty);
        let input = self.input.as_ref().and_then(|input| input.item.ty());
        let (first, second) = match self.output {
            Output::One(ty) => (ty, None),
            Output::Items(item) => (item.ty(), None),
            Output::OrError(item, error) | Output::ThenError(item, error) => (item.ty(), error),
        };
        params.chain(input).chain(first).chain(second)
    }
}

impl Signature<'_> {
    /// The types in messages of which there may be any number.
    pub(super) fn streamed(&self) -> impl Iterator<Item = Type> {
        let input = self.input.as_ref();
        let params = self.params.iter().filter(move |_| input.is_some()).map(|(_, ty)| *ty);
        let (item, error) = match self.output {
            Output::One(_) => (None, None),
            Output::Items(item) => (item.ty(), None),
            Output::OrError(item, error) | Output::ThenError(item, error) => (item.ty(), error),
        };
        params.chain(input.and_then(|input| input.item.ty())).chain(item).chain(error)
    }
}

impl StreamItem {
    fn ty(self) -> Option<Type> {
        match self {
            Self::Chunk => None,
            Self::Value(ty) => Some(ty),
        }
    }
}

fn output(ty: Type, types: &Types<'_>) -> Result<Output, String> {
    if let Some(TypeDefKind::Future(inner)) = types.kind(ty) {
        return Ok(Output::One(*inner));
    }
    Ok(match flow(ty, types)? {
        None => Output::One(Some(ty)),
        Some(Flow::Alone(item)) => Output::Items(item),
        Some(Flow::OrError(item, error)) => Output::OrError(item, error),
        Some(Flow::ThenError(item, error)) => Output::ThenError(item, error),
    })
}

fn flow(ty: Type, types: &Types<'_>) -> Result<Option<Flow>, String> {
    if let Some(item) = stream_of(ty, types)? {
        return Ok(Some(Flow::Alone(item)));
    }
    match types.kind(ty) {
        Some(TypeDefKind::Result(result)) => {
            let Some(ok) = result.ok else { return Ok(None) };
            let item = stream_of(ok, types)?;
            Ok(item.map(|item| Flow::OrError(item, result.err)))
        }
        Some(TypeDefKind::Tuple(tuple)) => {
            let [first, second] = *tuple.types.as_slice() else { return Ok(None) };
            let Some(item) = stream_of(first, types)? else { return Ok(None) };
            let Some(TypeDefKind::Future(Some(settled))) = types.kind(second) else {
                return Ok(None);
            };
            match types.kind(*settled) {
                Some(TypeDefKind::Result(result)) if result.ok.is_none() => {
                    Ok(Some(Flow::ThenError(item, result.err)))
                }
                _ => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

fn stream_of(ty: Type, types: &Types<'_>) -> Result<Option<StreamItem>, String> {
    let Some(TypeDefKind::Stream(item)) = types.kind(ty) else { return Ok(None) };
    let item = item.ok_or_else(|| NO_ITEMS.to_owned())?;
    let is_byte = types.target(item) == Some(Type::U8);
    Ok(Some(if is_byte { StreamItem::Chunk } else { StreamItem::Value(item) }))
}
