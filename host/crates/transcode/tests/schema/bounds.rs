//! Uploads that would keep decoders busy are refused by what their sections announce.

use roadstead_transcode::{World, WorldError, componentize};

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

fn core(sections: &[u8]) -> Vec<u8> {
    [b"\0asm\x01\0\0\0", sections].concat()
}

/// A component around one core module.
fn around(module: &[u8]) -> Vec<u8> {
    [EMPTY, &section(1, module)].concat()
}

fn name(text: &str) -> Vec<u8> {
    [&leb(text.len())[..], text.as_bytes()].concat()
}

/// The component is taken, or refused for something else than its size.
fn taken(wasm: &[u8]) {
    if let Err(error @ WorldError::TooMany { .. }) = World::decode(wasm) {
        panic!("{error}");
    }
}

fn refused(wasm: &[u8]) -> String {
    let error = World::decode(wasm).unwrap_err();
    assert!(matches!(error, WorldError::TooMany { .. }), "{error}");
    error.to_string()
}

/// What keeps to a bound is taken; one more is refused, with what was found and what is allowed.
fn bound(most: usize, what: &str, made: impl Fn(usize) -> Vec<u8>) {
    taken(&made(most));
    let error = refused(&made(most + 1));
    assert_eq!(error, format!("it has {} {what}, and this host takes {most} at most", most + 1));
}

#[test]
fn components_in_components_have_a_bound() {
    World::decode(&nested(64)).unwrap();
    bound(64, "levels of components and core modules in one another", nested);
    // Decoding these would take minutes.
    refused(&nested(100_000));
}

#[test]
fn metadata_of_core_modules_has_the_same_bound() {
    let with =
        |metadata: &[u8]| core(&section(0, &[&name("component-type")[..], metadata].concat()));
    let error = componentize(&with(&nested(100_000)), &[]).unwrap_err();
    assert!(matches!(error, WorldError::TooMany { .. }), "{error}");

    // Metadata in metadata is nobody's; a million levels of it would take as deep a stack.
    let mut heads: Vec<Vec<u8>> = Vec::new();
    let mut size = EMPTY.len();
    for _ in 0..200_000 {
        let body = name("component-type").len() + size;
        let head = [EMPTY, &[0], &leb(body), &name("component-type")].concat();
        size += head.len();
        heads.push(head);
    }
    heads.reverse();
    componentize(&with(&[heads.concat(), EMPTY.to_vec()].concat()), &[]).unwrap_err();
}

#[test]
fn parts_and_their_items_have_a_bound() {
    let part = section(4, EMPTY);
    World::decode(&repeated(999, &part)).unwrap();
    bound(1000, "components and core modules", |count| repeated(count - 1, &part));
    // Types (`list<u8>`), in sections of 1,000.
    let types = section(7, &[leb(1000), b"\x70\x7d".repeat(1000)].concat());
    World::decode(&repeated(100, &types)).unwrap();
    assert!(refused(&repeated(101, &types)).contains("101000 types"));
}

/// What sections say to hold is enough: nothing of it need be there.
#[test]
fn items_are_counted_by_what_sections_announce() {
    for (id, most, what) in [
        (2, 4_000, "instances"),
        (3, 100_000, "types"),
        (5, 4_000, "instances"),
        (6, 100_000, "aliases"),
        (7, 100_000, "types"),
        (8, 100_000, "canonical functions"),
        (10, 100_000, "imports"),
        (11, 100_000, "exports"),
    ] {
        bound(most, what, |count| repeated(1, &section(id, &leb(count))));
    }
    for (id, most, what) in [
        (1, 100_000, "types"),
        (2, 100_000, "imports"),
        (3, 400_000, "functions"),
        (4, 1_000, "tables"),
        (5, 100, "memories"),
        (6, 100_000, "globals"),
        (7, 100_000, "exports"),
        (9, 100_000, "element segments"),
        (11, 100_000, "data segments"),
        (13, 100_000, "globals"),
    ] {
        bound(most, what, |count| around(&core(&section(id, &leb(count)))));
    }
}

#[test]
fn groups_of_core_types_count_as_the_types_in_them() {
    let group = |count: usize| [&[1, 0x4e][..], &leb(count), &b"\x60\0\0".repeat(count)].concat();
    let what = "types";
    bound(100_000, what, |count| around(&core(&section(1, &group(count)))));
    bound(100_000, what, |count| {
        // The declarations of a module's type, beside the type itself.
        repeated(
            1,
            &section(
                3,
                &[&[1, 0x50][..], &leb(count - 1), &b"\x01\x60\0\0".repeat(count - 1)].concat(),
            ),
        )
    });
}

/// `count` instance types in one another.
fn instance_types(levels: usize) -> Vec<u8> {
    repeated(1, &section(7, &[&[1][..], &b"\x42\x01\x01".repeat(levels - 1), b"\x42\0"].concat()))
}

#[test]
fn types_that_hold_types_have_a_bound() {
    World::decode(&instance_types(16)).unwrap();
    bound(16, "levels of instance and component types in one another", instance_types);
    // The parser reads them by recursion: this would end the process.
    refused(&instance_types(1_000_000));
    // Declarations count as types do, and a claim is enough.
    let claim = |count: usize| [&[1, 0x41][..], &leb(count - 1)].concat();
    bound(100_000, "types", |count| repeated(1, &section(7, &claim(count))));
}

/// `tuple<previous, previous>`, again and again, from `first`.
fn doubling(first: &[u8], times: usize) -> Vec<u8> {
    let mut types = [&leb(times + 1)[..], first].concat();
    for at in 0..times {
        types.extend([&[0x6f, 2][..], &leb(at), &leb(at)].concat());
    }
    repeated(1, &section(7, &types))
}

#[test]
fn types_that_grow_by_doubling_are_measured_as_if_written_out() {
    // A tuple counts as one more than what it holds: 2^n - 1 with n - 1 levels of them.
    World::decode(&doubling(b"\x7d", 15)).unwrap();
    let error = refused(&doubling(b"\x7d", 16));
    assert!(error.contains("131071 members in one type, written out in full"), "{error}");
    // In the type of a component that is never made, too.
    let inside = section(4, &doubling(b"\x7d", 16));
    refused(&repeated(1, &inside));
    // A list of a fixed length is that many of its elements.
    let fixed = |length: usize| [&[1, 0x67, 0x7d][..], &leb(length)].concat();
    bound(100_000, "members in one type, written out in full", |count| {
        repeated(1, &section(7, &fixed(count - 1)))
    });
    let cases = |count: usize| {
        let names = (0..count).flat_map(|at| name(&format!("c{at}")));
        [&[1, 0x6d][..], &leb(count), &names.collect::<Vec<_>>()].concat()
    };
    taken(&repeated(1, &section(7, &cases(5_000))));
}

#[test]
fn types_in_types_have_a_bound() {
    // `list<previous>`: a primitive type is a level as well.
    bound(64, "levels in one type", |levels| {
        let mut types = [&leb(levels)[..], b"\x7d"].concat();
        for at in 0..levels - 1 {
            types.extend([&[0x70][..], &leb(at)].concat());
        }
        repeated(1, &section(7, &types))
    });
}

/// A component around a core module of one function with this body.
fn function(locals: &[u8], code: &[u8]) -> Vec<u8> {
    let body = [locals, code].concat();
    let code = [&[1][..], &leb(body.len()), &body].concat();
    around(&core(
        &[section(1, b"\x01\x60\0\0"), section(3, b"\x01\0"), section(10, &code)].concat(),
    ))
}

#[test]
fn functions_have_bounds() {
    bound(2 << 20, "bytes in the body of one function", |size| {
        // `nop`, and `end`.
        function(&[0], &[vec![1; size - 2], vec![0x0b]].concat())
    });
    bound(20_000, "locals in one function", |count| {
        let groups = [&[2][..], &leb(count - 1), &[0x7f, 1, 0x7e]].concat();
        function(&groups, &[0x0b])
    });
    for opening in [&b"\x02\x40"[..], b"\x03\x40", b"\x41\0\x04\x40", b"\x1f\x40\0"] {
        bound(10_000, "levels of blocks in one function", |levels| {
            function(&[0], &[opening.repeat(levels), vec![0x0b; levels + 1]].concat())
        });
    }
    // One after the other they are no levels.
    taken(&function(&[0], &[b"\x02\x40\x0b".repeat(20_000), vec![0x0b]].concat()));
    bound(20_000, "targets of one br_table", |count| {
        let targets = [&b"\x41\0\x0e"[..], &leb(count), &vec![0; count + 1], &[0x0b]].concat();
        function(&[0], &targets)
    });
}

#[test]
fn names_have_a_bound() {
    let long = |length: usize| name(&"n".repeat(length));
    let whats: [&dyn Fn(usize) -> Vec<u8>; 7] = [
        // A custom section's, an import's, an export's.
        &|length| repeated(1, &section(0, &long(length))),
        &|length| repeated(1, &section(10, &[&[1, 0][..], &long(length), b"\x01\0"].concat())),
        &|length| repeated(1, &section(11, &[&[1, 0][..], &long(length), b"\x01\0\0"].concat())),
        // A field's, an alias's.
        &|length| repeated(1, &section(7, &[&[1, 0x72, 1][..], &long(length), b"\x7d"].concat())),
        &|length| repeated(1, &section(6, &[&[1, 1, 0, 0][..], &long(length)].concat())),
        // In a core module: an import's, an export's.
        &|length| around(&core(&section(2, &[&[1][..], &long(length), b"\0\0\0"].concat()))),
        &|length| around(&core(&section(7, &[&[1][..], &long(length), b"\0\0"].concat()))),
    ];
    for made in whats {
        bound(4 << 10, "bytes in one name", made);
    }
}

#[test]
fn custom_sections_have_bounds() {
    let custom = section(0, &name("a"));
    bound(10_000, "custom sections", |count| repeated(count, &custom));
    // Half of it in a core module.
    bound(64 << 20, "bytes in custom sections", |size| {
        let half = section(0, &[name("a"), vec![0; 32 << 20]].concat());
        let other = section(0, &[name("a"), vec![0; size - (32 << 20)]].concat());
        [around(&core(&half)), other].concat()
    });
}
