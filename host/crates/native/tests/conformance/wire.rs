//! The messages of the fixture's services.

use bytes::Bytes;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Data {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Number {
    #[prost(uint64, tag = "1")]
    pub(crate) value: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Text {
    #[prost(string, tag = "1")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Who {
    #[prost(message, optional, tag = "1")]
    pub(crate) value: Option<Caller>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Caller {
    #[prost(string, tag = "1")]
    pub(crate) caller: String,
    #[prost(string, tag = "2")]
    pub(crate) module: String,
    #[prost(string, repeated, tag = "3")]
    pub(crate) path: Vec<String>,
    #[prost(uint64, tag = "4")]
    pub(crate) epoch: u64,
    #[prost(uint32, tag = "5")]
    pub(crate) process: u32,
}

pub(crate) fn data(bytes: impl Into<Bytes>) -> Bytes {
    Data { value: bytes.into() }.encode_to_vec().into()
}

pub(crate) fn number(value: u64) -> Bytes {
    Number { value }.encode_to_vec().into()
}

pub(crate) fn text(value: &str) -> Bytes {
    Text { value: value.to_owned() }.encode_to_vec().into()
}

pub(crate) fn read<M: Message + Default>(bytes: &Bytes) -> M {
    M::decode(bytes.clone()).unwrap()
}
