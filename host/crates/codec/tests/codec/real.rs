//! Components as toolchains make them.

use std::{fs, path::Path};

use roadstead_codec::{Unserved, graft};

use crate::guest::plans;

/// The modules of this repository are built by `make modules`; where they are not, there is
/// nothing to see.
#[test]
fn components_of_rust_and_python_are_served() {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../.build/modules");
    for (name, expected) in [
        ("echo", vec![None; 3]),
        ("reward", vec![None; 4]),
        ("thumbnail", vec![None; 2]),
        ("kv-filter", vec![None, None, Some(Unserved::Map)]),
    ] {
        let Ok(component) = fs::read(modules.join(name).with_extension("wasm")) else { continue };
        let made = graft(&component, &plans(&component)).unwrap();
        assert_eq!(made.methods, expected, "{name}");
        let grown = made.component.unwrap().len() - component.len();
        assert!(grown < 16 << 10, "{name} grew by {grown} bytes");
    }
}
