//! Uploads that would keep decoders busy are refused by what their sections announce.

use roadstead_transcode::{World, WorldError, componentize, preview1_adapter};

const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

fn leb(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
    out
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(content.len()), content].concat()
}

/// Empty components in one another.
fn nested(levels: usize) -> Vec<u8> {
    // From the inside out, only the heads: copying the whole for each level would be quadratic.
    let mut heads = Vec::new();
    let mut size = EMPTY.len();
    for _ in 1..levels {
        let head = [EMPTY, &[4], &leb(size)].concat();
        size += head.len();
        heads.push(head);
    }
    heads.reverse();
    [heads.concat(), EMPTY.to_vec()].concat()
}

/// A component with `count` times the same section in it.
fn repeated(count: usize, section: &[u8]) -> Vec<u8> {
    [EMPTY, &section.repeat(count)].concat()
}

fn refused(wasm: &[u8]) -> String {
    let error = World::decode(wasm).unwrap_err();
    assert!(matches!(error, WorldError::TooMany { .. }), "{error}");
    error.to_string()
}

#[test]
fn components_in_components_have_a_bound() {
    World::decode(&nested(64)).unwrap();
    assert!(refused(&nested(65)).contains("more than 64 levels of nesting"));
    // Decoding these would take minutes.
    refused(&nested(100_000));
}

#[test]
fn metadata_of_core_modules_has_the_same_bound() {
    let core = wat::parse_str("(module)").unwrap();
    let name = [leb(14), b"component-type".to_vec()].concat();
    let core = [core, section(0, &[name, nested(100_000)].concat())].concat();
    let error = componentize(&core, preview1_adapter(&core)).unwrap_err();
    assert!(matches!(error, WorldError::TooMany { .. }), "{error}");
}

#[test]
fn parts_and_their_items_have_a_bound() {
    let part = section(4, EMPTY);
    World::decode(&repeated(999, &part)).unwrap();
    assert!(refused(&repeated(1000, &part)).contains("1000 components and core modules"));
    // Types (`list<u8>`), in sections of 1,000.
    let types = section(7, &[leb(1000), b"\x70\x7d".repeat(1000)].concat());
    World::decode(&repeated(100, &types)).unwrap();
    assert!(refused(&repeated(101, &types)).contains("100000 types"));
    // A claim is enough: nothing of it is read.
    for (id, what) in [
        (2, "instances"),
        (5, "instances"),
        (6, "aliases"),
        (8, "canonical functions"),
        (10, "imports"),
        (11, "exports"),
    ] {
        let error = refused(&repeated(1, &section(id, &leb(1 << 20))));
        assert!(error.contains(what), "{error}");
    }
}
