//! Streams, futures and async functions: the shapes of the contract, their flags, names and plans.

use roadstead_transcode::{
    CopyBudget, InputPlan, Locks, MethodPlan, OutputPlan, ResponsePlan, Shape, StreamRequest,
    StreamResponse, decode_stream_request, encode_chunk_header, encode_stream_response,
};
use wasmtime::component::Val;

use crate::support::{assert_lines, derived, derived_with, method, only, world};

const WIT: &str = "package t:streams@1.0.0;
interface i {
  record row { key: string, cells: list<u32> }
  variant problem { late, wrong(string) }
  plain: func(first: u32) -> stream<row>;
  bytes: func() -> stream<u8>;
  lists: func() -> stream<list<u32>>;
  %maybe: func() -> stream<option<u32>>;
  or-error: func() -> result<stream<row>, problem>;
  then-error: func() -> tuple<stream<u8>, future<result<_, problem>>>;
  then-fails: func() -> tuple<stream<list<u32>>, future<result>>;
  send: func(name: string, rows: stream<row>, limit: option<u32>) -> result<u32, problem>;
  upload: func(body: tuple<stream<u8>, future<result<_, problem>>>);
  both: async func(rows: stream<row>) -> stream<problem>;
  later: func(a: u8) -> future<result<row, problem>>;
  awaited: async func(a: u8) -> row;
}
world w { export i; }";

#[test]
fn every_shape_has_its_messages() {
    let file = only(&derived(WIT));
    for rpc in [
        "rpc Plain(PlainRequest) returns (stream PlainResponse);",
        "rpc Bytes(BytesRequest) returns (stream BytesResponse);",
        "rpc OrError(OrErrorRequest) returns (stream OrErrorResponse);",
        "rpc Send(stream SendRequest) returns (SendResponse);",
        "rpc Upload(stream UploadRequest) returns (UploadResponse);",
        "rpc Both(stream BothRequest) returns (stream BothResponse);",
        "rpc Later(LaterRequest) returns (LaterResponse);",
        "rpc Awaited(AwaitedRequest) returns (AwaitedResponse);",
    ] {
        assert_lines(&file, rpc);
    }
    for message in [
        "message PlainResponse {\n Row item = 1;\n }",
        "message BytesResponse {\n bytes item = 1;\n }",
        "message ListsResponse {\n repeated uint32 item = 1;\n }",
        "message MaybeResponse {\n optional uint32 item = 1;\n }",
        "message OrErrorResponse {\n oneof event {\n Row item = 1;\n Problem error = 2;\n }\n }",
        "message ThenErrorResponse {\n oneof event {\n bytes item = 1;\n Problem error = 2;\n }\n }",
        "message ThenFailsResponse {\n oneof event {\n Item item = 1;\n \
         .google.protobuf.Empty error = 2;\n }",
        "message SendRequest {\n oneof message {\n Start start = 1;\n Row item = 2;\n }\n\n \
         message Start {\n string name = 1;\n optional uint32 limit = 2;\n }\n }",
        "message UploadRequest {\n oneof message {\n Start start = 1;\n bytes item = 2;\n }\n\n \
         message Start {}\n }",
        "message LaterResponse {\n oneof result {\n Row ok = 1;\n Problem error = 2;\n }\n }",
    ] {
        assert_lines(&file, message);
    }
}

#[test]
fn plans_say_where_streams_stand() {
    let derived = derived(WIT);
    let input = |name| method(&derived, name).input.as_ref();
    let output = |name| method(&derived, name).output();
    assert!(matches!(output("Plain"), Some(OutputPlan::Items(item)) if item.number == 1));
    assert!(
        matches!(output("OrError"), Some(OutputPlan::OrError { error, .. }) if error.number == 2)
    );
    assert!(matches!(output("ThenError"), Some(OutputPlan::ThenError { .. })));
    assert!(output("Bytes").unwrap().is_bytes() && output("ThenError").unwrap().is_bytes());
    assert!(!output("Lists").unwrap().is_bytes());
    assert!(matches!(input("Send"), Some(InputPlan { position: 1, settles: false, .. })));
    assert!(matches!(
        input("Upload"),
        Some(InputPlan { position: 0, settles: true, item: Shape::Bytes, .. })
    ));
    let streaming = |name| method(&derived, name).is_streaming();
    assert!(streaming("Both") && streaming("Send") && !streaming("Later") && !streaming("Awaited"));
    assert!(matches!(method(&derived, "Later").response, ResponsePlan::Result(_)));
}

#[test]
fn locks_keep_the_messages_of_streams() {
    let first = derived(WIT);
    let again = derived_with(&world(WIT), &first.locks);
    assert_eq!((&again.files, &again.locks), (&first.files, &first.locks));
    assert_eq!(Locks::parse(&first.locks.to_text()).unwrap(), first.locks);
    let swapped = WIT.replace("name: string, rows: stream<row>, limit", "limit");
    let swapped = swapped
        .replace("option<u32>) -> result<u32", "option<u32>, rows: stream<row>) -> result<u32");
    let file = only(&derived_with(&world(&swapped), &first.locks));
    assert_lines(
        &file,
        "message Start {\n reserved 1;\n reserved \"name\";\n\n optional uint32 limit = 2;",
    );
}

fn read(method: &MethodPlan, bytes: &'static [u8]) -> Result<StreamRequest, String> {
    let mut budget = CopyBudget::new(1 << 20);
    let plan = method.input.as_ref().unwrap();
    let read = decode_stream_request(plan, &bytes.into(), &mut budget);
    read.map_err(|fault| fault.to_string())
}

#[test]
fn messages_of_the_caller_are_read_one_by_one() {
    let derived = derived(WIT);
    let send = method(&derived, "Send");
    let start = vec![Val::String("n".to_owned()), Val::Option(Some(Box::new(Val::U32(7))))];
    assert_eq!(read(send, b"\x0a\x05\x0a\x01n\x10\x07"), Ok(StreamRequest::Start(start)));
    let cells = Val::List(vec![Val::U32(1), Val::U32(2)]);
    let row = vec![("key".to_owned(), Val::String("k".to_owned())), ("cells".to_owned(), cells)];
    let item = StreamRequest::Item(Val::Record(row));
    assert_eq!(read(send, b"\x12\x07\x0a\x01k\x12\x02\x01\x02"), Ok(item));
    assert!(read(send, b"").unwrap_err().contains("one of its cases must be set"));
    assert!(
        read(send, b"\x12\x04\x0a\x02\xff\xff").unwrap_err().contains("item.key: must be UTF-8")
    );
    let upload = method(&derived, "Upload");
    assert_eq!(read(upload, b"\x12\x03abc"), Ok(StreamRequest::Chunk("abc".into())));
    assert_eq!(read(upload, b"\x0a\x00"), Ok(StreamRequest::Start(Vec::new())));
}

#[test]
fn messages_to_the_caller_are_written_one_by_one() {
    let derived = derived(WIT);
    let written = |name, response: StreamResponse<'_>, limit| {
        let plan = method(&derived, name).output().unwrap();
        encode_stream_response(plan, response, limit, &mut CopyBudget::new(1 << 20))
            .map(|bytes| bytes.to_vec())
            .map_err(|error| error.to_string())
    };
    let zero = Val::Option(Some(Box::new(Val::U32(0))));
    assert_eq!(written("Maybe", StreamResponse::Item(&zero), 10).unwrap(), b"\x08\x00");
    assert_eq!(written("Maybe", StreamResponse::Item(&Val::Option(None)), 10).unwrap(), b"");
    let list = Val::List(vec![Val::U32(1), Val::U32(2)]);
    assert_eq!(written("Lists", StreamResponse::Item(&list), 10).unwrap(), b"\x0a\x02\x01\x02");
    let wrapped = b"\x0a\x04\x0a\x02\x01\x02";
    assert_eq!(written("ThenFails", StreamResponse::Item(&list), 10).unwrap(), wrapped);
    assert!(written("ThenFails", StreamResponse::Item(&list), 5).unwrap_err().contains("output"));
    assert_eq!(written("ThenFails", StreamResponse::Error(&None), 10).unwrap(), b"\x12\x00");
    let wrong = Val::Variant("wrong".to_owned(), Some(Box::new(Val::String("x".to_owned()))));
    let error = Some(Box::new(wrong));
    assert_eq!(
        written("OrError", StreamResponse::Error(&error), 10).unwrap(),
        b"\x12\x03\x12\x01x"
    );
    assert!(written("Plain", StreamResponse::Error(&error), 10).is_err());
    assert!(written("Plain", StreamResponse::Item(&list), 10).is_err());
    let header = |name| encode_chunk_header(method(&derived, name).output().unwrap(), 300);
    assert_eq!(header("Bytes").unwrap(), &b"\x0a\xac\x02"[..]);
    assert!(header("Plain").is_err());
}
