//! Differences of contracts, one by one.

use prost_types::{
    EnumValueDescriptorProto, FieldOptions, FileDescriptorProto, OneofDescriptorProto,
};

use super::*;

fn field(name: &str, number: i32, kind: Type) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        ..FieldDescriptorProto::default()
    }
}

fn message(name: &str, field: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto { name: Some(name.to_owned()), field, ..DescriptorProto::default() }
}

/// A contract with one of each kind of thing.
fn file() -> FileDescriptorProto {
    let list = FieldDescriptorProto {
        label: Some(Label::Repeated.into()),
        ..field("list", 2, Type::Double)
    };
    let of_type = |field: FieldDescriptorProto, name: &str| FieldDescriptorProto {
        type_name: Some(name.to_owned()),
        ..field
    };
    let case = |field| FieldDescriptorProto { oneof_index: Some(0), ..field };
    let maybe = FieldDescriptorProto {
        oneof_index: Some(1),
        proto3_optional: Some(true),
        ..field("maybe", 7, Type::Int64)
    };
    let mut ask = message(
        "Ask",
        vec![
            field("text", 1, Type::String),
            list,
            of_type(field("inner", 3, Type::Message), ".a.Inner"),
            of_type(field("color", 4, Type::Enum), ".a.Color"),
            case(field("one", 5, Type::Bool)),
            case(field("two", 6, Type::Bool)),
            maybe,
            // Of itself: this comes to an end.
            of_type(field("again", 8, Type::Message), ".a.Ask"),
            of_type(field("when", 9, Type::Message), ".google.protobuf.Duration"),
        ],
    );
    let oneof = |name: &str| OneofDescriptorProto { name: Some(name.to_owned()), options: None };
    ask.oneof_decl = vec![oneof("which"), oneof("_maybe")];
    let method = MethodDescriptorProto {
        name: Some("Do".to_owned()),
        input_type: Some(".a.Ask".to_owned()),
        output_type: Some(".a.Inner".to_owned()),
        server_streaming: Some(true),
        ..MethodDescriptorProto::default()
    };
    let value = |number| EnumValueDescriptorProto {
        name: Some(format!("C{number}")),
        number: Some(number),
        options: None,
    };
    FileDescriptorProto {
        name: Some("a.proto".to_owned()),
        package: Some("a".to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: vec![ask, message("Inner", vec![field("x", 1, Type::Uint32)])],
        enum_type: vec![EnumDescriptorProto {
            name: Some("Color".to_owned()),
            value: vec![value(0), value(1)],
            ..EnumDescriptorProto::default()
        }],
        service: vec![ServiceDescriptorProto {
            name: Some("S".to_owned()),
            method: vec![method],
            options: None,
        }],
        ..FileDescriptorProto::default()
    }
}

fn compared(change: impl FnOnce(&mut FileDescriptorProto)) -> Result<(), String> {
    let contract = Contract { files: vec![file()], services: vec!["a.S".to_owned()] };
    let mut served = file();
    change(&mut served);
    compare(&contract, &[served]).map_err(|mismatch| mismatch.to_string())
}

fn ask(file: &mut FileDescriptorProto) -> &mut DescriptorProto {
    &mut file.message_type[0]
}

#[test]
fn what_is_the_same_or_more_is_kept() {
    assert_eq!(compared(|_| {}), Ok(()));
    assert_eq!(compared(|file| ask(file).field[0].name = Some("other".to_owned())), Ok(()));
    assert_eq!(compared(|file| ask(file).field.reverse()), Ok(()));
    let more = |file: &mut FileDescriptorProto| {
        ask(file).field.push(field("more", 99, Type::String));
        let mut method = file.service[0].method[0].clone();
        method.name = Some("More".to_owned());
        file.service[0].method.push(method);
        file.service.push(ServiceDescriptorProto::default());
        file.message_type.push(message("More", Vec::new()));
    };
    assert_eq!(compared(more), Ok(()));
    let said = |file: &mut FileDescriptorProto| {
        let options = FieldOptions { packed: Some(true), ..FieldOptions::default() };
        ask(file).field[1].options = Some(options);
    };
    assert_eq!(compared(said), Ok(()));
}

#[test]
fn every_difference_is_named() {
    type Change = fn(&mut FileDescriptorProto);
    let changes: [(Change, &str); 17] = [
        (|file| file.service.clear(), "a.S: is not served"),
        (|file| file.package = Some("b".to_owned()), "a.S: is not served"),
        (|file| file.service[0].method.clear(), "a.S/Do: is not served"),
        (
            |file| file.service[0].method[0].server_streaming = None,
            "a.S/Do: its responses are not a stream, and should be",
        ),
        (
            |file| file.service[0].method[0].client_streaming = Some(true),
            "a.S/Do: its requests are a stream, and should not be",
        ),
        (
            |file| file.service[0].method[0].output_type = Some(".a.Ask".to_owned()),
            "a.S/Do: its responses are .a.Ask, and should be .a.Inner",
        ),
        (|file| ask(file).field[0].number = Some(20), "a.Ask field 1: (text) is missing"),
        (
            |file| ask(file).field[0].r#type = Some(Type::Bytes.into()),
            "a.Ask field 1: is bytes, and should be string",
        ),
        (
            |file| ask(file).field[0].label = Some(Label::Repeated.into()),
            "a.Ask field 1: is repeated, and should not be",
        ),
        (
            |file| {
                let options = FieldOptions { packed: Some(false), ..FieldOptions::default() };
                ask(file).field[1].options = Some(options);
            },
            "a.Ask field 2: is not packed, and should be",
        ),
        (|file| file.syntax = None, "a.Ask field 2: is not packed, and should be"),
        (
            |file| ask(file).field[2].type_name = Some(".a.Ask".to_owned()),
            "a.Ask field 3: is .a.Ask, and should be .a.Inner",
        ),
        (|file| file.message_type[1].field.clear(), "a.Inner field 1: (x) is missing"),
        (
            |file| file.enum_type[0].value.truncate(1),
            "a.Color: has the values {0}, and should have {0, 1}",
        ),
        (
            |file| ask(file).field[5].oneof_index = None,
            "a.Ask field 6: is neither optional nor in a oneof, and should be in a oneof with field 5",
        ),
        (
            |file| {
                ask(file).field[6].oneof_index = None;
                ask(file).field[6].proto3_optional = None;
            },
            "a.Ask field 7: is neither optional nor in a oneof, and should be optional",
        ),
        (
            |file| {
                let three = field("three", 30, Type::Bool);
                let three = FieldDescriptorProto { oneof_index: Some(0), ..three };
                ask(file).field.push(three);
            },
            "a.Ask field 30: (three) is a further case of a oneof",
        ),
    ];
    for (change, says) in changes {
        let problem = compared(change).unwrap_err();
        assert_eq!(problem, format!("ContractMismatch: {says}"));
    }
}

#[test]
fn a_server_without_the_files_does_not_keep_the_contract() {
    let contract = Contract { files: vec![file()], services: vec!["a.S".to_owned()] };
    let mismatch = compare(&contract, &[]).unwrap_err().to_string();
    assert_eq!(mismatch, "ContractMismatch: a.S: is not served");
    let mut served = file();
    served.message_type.truncate(1);
    let mismatch = compare(&contract, &[served]).unwrap_err().to_string();
    assert_eq!(mismatch, "ContractMismatch: a.Inner: is not in the server's files");
}
