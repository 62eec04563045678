//! WIT text inside a component.
//!
//! A component's types have no comments, so the guest SDK puts the WIT text of the author into
//! custom sections named [`WIT_SECTION`]. The content of a section is UTF-8 JSON: an array of
//! `[path, text]` pairs, or several such arrays one after another (linkers join sections of one
//! name). Paths are those below the WIT directory, with `/`: `world.wit`, `deps/shapes/shapes.wit`.
//! The sections may stand in the component itself or in a core module inside it.

use std::collections::HashSet;

use wasm_encoder::{ComponentSection, CustomSection};
use wasmparser::{Parser, Payload};

/// The name of the custom section.
pub const WIT_SECTION: &str = "roadstead:wit";

/// Text beyond this is ignored: it would be for show only.
const MAX_TEXT: usize = 4 << 20;

/// The component (or core module) with WIT text appended to it.
pub fn embed_wit(wasm: &[u8], files: &[(String, String)]) -> Vec<u8> {
    let content = serde_json::json!(files).to_string();
    let section = CustomSection { name: WIT_SECTION.into(), data: content.as_bytes().into() };
    let mut out = wasm.to_vec();
    section.append_to_component(&mut out);
    out
}

/// The WIT text inside a component, wherever in it; empty where there is none or it does not read.
/// Where a path occurs twice, the outermost section counts, and of those the first.
pub fn embedded_wit(wasm: &[u8]) -> Vec<(String, String)> {
    let mut sections = sections(wasm);
    sections.sort_by_key(|(depth, _)| *depth);
    let mut files: Vec<(String, String)> = Vec::new();
    let mut paths = HashSet::new();
    let mut size = 0_usize;
    for (_, content) in sections {
        size = size.saturating_add(content.len());
        if size > MAX_TEXT {
            break;
        }
        let arrays = serde_json::Deserializer::from_slice(content);
        for array in arrays.into_iter::<Vec<(String, String)>>().map_while(Result::ok) {
            for file in array {
                if paths.insert(file.0.clone()) {
                    files.push(file);
                }
            }
        }
    }
    files
}

/// The sections' contents, with how deep each lies.
fn sections(wasm: &[u8]) -> Vec<(usize, &[u8])> {
    let mut found = Vec::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(wasm).map_while(Result::ok) {
        match payload {
            Payload::Version { .. } => depth = depth.saturating_add(1),
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if section.name() == WIT_SECTION => {
                found.push((depth, section.data()));
            }
            _ => {}
        }
    }
    found
}
