//! What a server says of its services: the files of `grpc.reflection`, within bounds.
//!
//! What is read takes many times its bytes. So files are counted before they are read, against what
//! the contract's own come to, and those of one server are read at a time, beside the runtime.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use prost_types::FileDescriptorProto;
use roadstead_engine::Contract;
use tokio::sync::Semaphore;

use crate::{
    contract::{ContractMismatch, compare},
    link::{Link, Unanswered},
    messages::{Asked, ReflectionRequest, ReflectionResponse},
};

const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Files of a server.
const FILES: usize = 512;
/// Bytes of a server's files: this many times those of the contract, and some for further services
/// and files of protobuf itself; in all no more than that, unless the contract alone has more.
const TIMES: usize = 8;
const FURTHER: usize = 64 << 10;
const MOST: usize = 1 << 20;
/// Bytes of an answer beside the files.
const BESIDE: usize = 4 << 10;

/// Reads what servers say, of one at a time.
static READER: Semaphore = Semaphore::const_new(1);

/// A server's files as it sent them, by name.
#[derive(Debug)]
pub(crate) struct Files(BTreeMap<String, Bytes>);

/// The files with the services of a contract, and those that they import.
pub(crate) async fn files(link: &Link, contract: &Contract) -> Result<Files, Unanswered> {
    let mut found = Found::new(most(contract));
    let mut path = V1;
    for service in &contract.services {
        let asked = || Asked::FileContainingSymbol(service.clone());
        let answer = match found.ask(link, path, asked()).await {
            Err(Unanswered::Unimplemented) if path == V1 => {
                path = V1_ALPHA;
                found.ask(link, path, asked()).await?
            }
            answer => answer?,
        };
        found.take(answer)?;
    }
    while let Some(name) = found.missing() {
        let answer = found.ask(link, path, Asked::FileByFilename(name.clone())).await?;
        found.take(answer)?;
        if !found.files.contains_key(&name) {
            return Err(Unanswered::Broken(format!("it does not have `{name}`")));
        }
    }
    Ok(Files(found.files))
}

impl Files {
    /// Compares them with a contract.
    ///
    /// # Errors
    /// In words, where they do not read.
    pub(crate) async fn compare(
        self,
        contract: Arc<Contract>,
    ) -> Result<Result<(), ContractMismatch>, String> {
        let permit = READER.acquire().await.map_err(|error| error.to_string())?;
        let reading = tokio::task::spawn_blocking(move || {
            // Held until what was read is gone, whoever still waits for it.
            let _permit = permit;
            let read = self.0.into_values().map(FileDescriptorProto::decode);
            let read: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
            Ok(compare(&contract, &read))
        });
        reading.await.map_err(|error| error.to_string())?
    }
}

/// Bytes of files that a server may have.
fn most(contract: &Contract) -> usize {
    let own: usize = contract.files.iter().map(Message::encoded_len).sum();
    let some = own.saturating_mul(TIMES).saturating_add(FURTHER);
    some.min(MOST.max(own.saturating_mul(2)))
}

/// What is looked at of a file before it is read.
#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "3")]
    dependency: Vec<String>,
}

/// What came so far.
#[derive(Debug)]
struct Found {
    files: BTreeMap<String, Bytes>,
    imports: BTreeSet<String>,
    bytes: usize,
    most: usize,
}

impl Found {
    fn new(most: usize) -> Self {
        Self { files: BTreeMap::new(), imports: BTreeSet::new(), bytes: 0, most }
    }

    /// A file that another imports. Those of protobuf itself are known.
    fn missing(&self) -> Option<String> {
        let unknown = |name: &&String| {
            !self.files.contains_key(*name) && !name.starts_with("google/protobuf/")
        };
        self.imports.iter().find(unknown).cloned()
    }

    fn take(&mut self, answer: ReflectionResponse) -> Result<(), Unanswered> {
        if let Some(error) = answer.error {
            // Not there: the comparison says what is missing.
            let not_found = 5;
            return if error.code == not_found {
                Ok(())
            } else {
                Err(Unanswered::Broken(format!("status {}: {}", error.code, error.text)))
            };
        }
        for bytes in answer.files.unwrap_or_default().files {
            self.add(bytes)?;
        }
        Ok(())
    }

    /// The same file may come with many answers.
    fn add(&mut self, file: Bytes) -> Result<(), Unanswered> {
        let head = Head::decode(file.clone());
        let head = head.map_err(|error| Unanswered::Broken(error.to_string()))?;
        if self.files.get(&head.name) == Some(&file) {
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(file.len());
        if self.bytes > self.most {
            let most = self.most;
            return Err(Unanswered::Broken(format!("it has more than {most} bytes of files")));
        }
        self.imports.extend(head.dependency);
        self.files.insert(head.name, file);
        if self.files.len() > FILES {
            return Err(Unanswered::Broken(format!("it has more than {FILES} files")));
        }
        Ok(())
    }

    async fn ask(
        &self,
        link: &Link,
        path: &'static str,
        asked: Asked,
    ) -> Result<ReflectionResponse, Unanswered> {
        let most = self.most.saturating_add(BESIDE);
        link.ask(path, &ReflectionRequest { asked: Some(asked) }, PATIENCE, most).await
    }
}

#[cfg(test)]
mod tests {
    use prost_types::DescriptorProto;

    use super::*;
    use crate::messages::ReflectionFiles;

    fn file(name: &str, messages: usize) -> FileDescriptorProto {
        let message = DescriptorProto { name: Some("M".to_owned()), ..DescriptorProto::default() };
        FileDescriptorProto {
            name: Some(name.to_owned()),
            message_type: vec![message; messages],
            ..FileDescriptorProto::default()
        }
    }

    fn answer(files: &[FileDescriptorProto]) -> ReflectionResponse {
        let files = files.iter().map(|file| file.encode_to_vec().into()).collect();
        ReflectionResponse { files: Some(ReflectionFiles { files }), error: None }
    }

    fn contract(files: Vec<FileDescriptorProto>) -> Contract {
        Contract { files, services: Vec::new() }
    }

    #[test]
    fn a_contract_bounds_what_a_server_has_beside_it() {
        let small = contract(vec![file("a", 100)]);
        let own = small.files[0].encoded_len();
        assert_eq!(most(&small), 8 * own + (64 << 10));
        assert_eq!(most(&contract(vec![file("a", 60_000)])), 1 << 20);
        // One that is larger itself can be kept.
        let large = contract(vec![file("a", 300_000)]);
        assert_eq!(most(&large), 2 * large.files[0].encoded_len());
    }

    #[test]
    fn files_are_counted_before_they_are_read() {
        // Nothing but a name and a list of messages: a file that does not read as one.
        let mut unread = file("a", 0).encode_to_vec();
        unread.extend([0x22, 0x01, 0xff]);
        assert!(FileDescriptorProto::decode(unread.as_slice()).is_err());
        let files = ReflectionFiles { files: vec![unread.into()] };
        let unread = ReflectionResponse { files: Some(files), error: None };
        assert!(Found::new(1000).take(unread.clone()).is_ok());
        let refused = Found::new(5).take(unread).unwrap_err();
        assert_eq!(refused.to_string(), "it has more than 5 bytes of files");
    }

    #[test]
    fn all_files_count_and_each_once() {
        let (one, other) = (file("a", 50), file("b", 50));
        let mut found = Found::new(one.encoded_len() + other.encoded_len());
        for _ in 0..3 {
            found.take(answer(&[one.clone(), other.clone()])).unwrap();
        }
        found.take(answer(&[file("c", 0)])).unwrap_err();
        // Nor does a further one of its name come for nothing.
        let mut found = Found::new(one.encoded_len());
        found.take(answer(std::slice::from_ref(&one))).unwrap();
        found.take(answer(&[file("a", 49)])).unwrap_err();
        let many: Vec<_> = (0..=FILES).map(|number| file(&number.to_string(), 0)).collect();
        let refused = Found::new(MOST).take(answer(&many)).unwrap_err();
        assert_eq!(refused.to_string(), "it has more than 512 files");
    }

    #[test]
    fn what_is_imported_is_asked_for() {
        let mut importing = file("a", 0);
        importing.dependency = vec!["b".to_owned(), "google/protobuf/empty.proto".to_owned()];
        let mut found = Found::new(MOST);
        found.take(answer(&[importing])).unwrap();
        assert_eq!(found.missing().as_deref(), Some("b"));
        found.take(answer(&[file("b", 0)])).unwrap();
        assert_eq!(found.missing(), None);
    }

    #[tokio::test]
    async fn the_files_of_one_server_are_read_at_a_time() {
        let files =
            || Files(BTreeMap::from([("a".to_owned(), file("a", 1).encode_to_vec().into())]));
        let contract = Arc::new(contract(Vec::new()));
        let held = READER.acquire().await.unwrap();
        let mut waiting = Box::pin(files().compare(Arc::clone(&contract)));
        assert!(futures::poll!(&mut waiting).is_pending());
        tokio::task::yield_now().await;
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(held);
        assert_eq!(waiting.await, Ok(Ok(())));
        let bad = Files(BTreeMap::from([("a".to_owned(), Bytes::from_static(&[0x22, 1, 0xff]))]));
        assert!(bad.compare(contract).await.is_err());
    }
}
