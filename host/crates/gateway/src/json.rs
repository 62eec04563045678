//! Messages as canonical protobuf JSON: read strictly, printed with default values.
//!
//! A short message can be a long text and the other way round, and both pass through a tree that
//! is larger than either. So what a tree will take is looked at before it is built, and a text is
//! counted as it grows.

mod diagnose;
mod weight;

use std::io;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use roadstead_domain::{Fault, LimitKind};

use crate::{budget::Charge, receive::Message, status::host_fault};

/// Bytes that a tree may take: enough for 2 MiB of packed numbers of any kind.
const TREE: u64 = 256 << 20;

/// Bytes from which a tree is the only one of its size. Of smaller ones so many may exist as
/// conversions run at once.
const LARGE: u64 = 64 << 20;
static ALONE: Mutex<()> = Mutex::new(());

/// A text may be this many times as long as its message may: numbers become digits, and names and
/// default values are written.
pub(crate) const TEXT: u64 = 8;

/// Bytes of a text that are counted at once.
const STEP: usize = 4 << 10;

/// Reads one message. Nesting is bounded by serde_json, at 128 levels.
///
/// # Errors
/// [`Fault::BadInput`] names the field that does not fit; [`Fault::NeverFits`] if the text holds
/// more values than the host takes in.
pub(crate) fn read(descriptor: &MessageDescriptor, text: &[u8]) -> Result<Bytes, Fault> {
    let _alone = room(weight::of_text(text))?;
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let read = DynamicMessage::deserialize(descriptor.clone(), &mut deserializer)
        .and_then(|message| deserializer.end().map(|()| message));
    match read {
        Ok(message) => Ok(message.encode_to_vec().into()),
        Err(error) => Err(diagnose::diagnose(descriptor, text, &error)),
    }
}

/// Prints one message, whose text is counted as `charge`. `limit` is the message's own.
///
/// # Errors
/// [`LimitKind::Output`] if the text is too long, [`Fault::NeverFits`] if the tree is too large,
/// [`Fault::Overloaded`] if the host holds too much already.
pub(crate) fn print(
    descriptor: &MessageDescriptor,
    message: Bytes,
    limit: u64,
    charge: Charge,
) -> Result<Message, Fault> {
    let _alone = room(weight::of_message(descriptor, &message, TREE))?;
    let broken = |error: &dyn std::fmt::Display| host_fault("print a message", error);
    // A guest can write into the response that the compiled codec made within it.
    let message = DynamicMessage::decode(descriptor.clone(), message);
    let message = message.map_err(|_| Fault::GuestTrap {
        message: "its response is not a message of the method's type".to_owned(),
        backtrace: Vec::new(),
    })?;
    let options = SerializeOptions::new().skip_default_fields(false);
    let mut text = Text { bytes: Vec::new(), limit, charge, counted: 0, fault: None };
    let printed =
        message.serialize_with_options(&mut serde_json::Serializer::new(&mut text), &options);
    match (printed, text.fault) {
        (Ok(()), _) => Ok(Message { bytes: text.bytes.into(), charge: text.charge }),
        (Err(_), Some(fault)) => Err(fault),
        (Err(error), None) => Err(broken(&error)),
    }
}

/// Waits until a tree of this weight may be built, until what is returned is dropped. It waits for
/// large trees only, which are not built on the threads that serve connections.
fn room(weight: u64) -> Result<Option<MutexGuard<'static, ()>>, Fault> {
    if weight > TREE {
        return Err(Fault::NeverFits(format!(
            "the message's tree of JSON values would take more than {} MiB: use gRPC or \
             application/proto",
            TREE >> 20
        )));
    }
    Ok((weight > LARGE).then(|| ALONE.lock()))
}

/// A text that is counted as it grows.
struct Text {
    bytes: Vec<u8>,
    limit: u64,
    charge: Charge,
    counted: usize,
    /// Why it could not grow.
    fault: Option<Fault>,
}

impl Text {
    fn grow(&mut self, by: usize) -> Result<(), Fault> {
        let length = self.bytes.len() + by;
        if length as u64 > self.limit.saturating_mul(TEXT) {
            return Err(Fault::limit(LimitKind::Output, self.limit, None));
        }
        if length > self.counted {
            let step = (length - self.counted).max(STEP);
            self.charge.grow(step as u64)?;
            self.counted += step;
        }
        Ok(())
    }
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(fault) = self.grow(bytes.len()) {
            self.fault = Some(fault);
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
