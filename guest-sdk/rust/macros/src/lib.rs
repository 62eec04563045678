//! `embed_wit!`: a directory of WIT files as the custom section `roadstead:wit`.
//!
//! No dependencies: the macro takes one string literal and writes one static.

mod files;
mod section;

use std::path::{Path, PathBuf};

use proc_macro::{TokenStream, TokenTree};

/// Embeds the WIT files under a path, relative to the crate's directory: a `.wit` file, or a
/// directory that is searched with its `deps`.
///
/// ```text
/// roadstead_guest::embed_wit!("wit");
/// ```
#[proc_macro]
pub fn embed_wit(input: TokenStream) -> TokenStream {
    match expand(input) {
        Ok(code) => code,
        Err(message) => parse(&format!("compile_error!({message:?});")),
    }
}

fn expand(input: TokenStream) -> Result<TokenStream, String> {
    let path = literal(input)?;
    let root = crate_directory()?.join(&path);
    let files = files::read(&root)?;
    let section = section::encode(&files);
    let mut code = String::new();
    for file in &files {
        let source = file.source.to_str().ok_or("a WIT file's path is not UTF-8")?;
        // Makes the compiler run the macro again when the file changes.
        code.push_str(&format!("const _: &[u8] = include_bytes!({source:?});\n"));
    }
    code.push_str(&format!(
        "#[cfg(target_family = \"wasm\")]\n\
         #[allow(unsafe_code, reason = \"a custom section, read by no code\")]\n\
         #[used]\n\
         #[unsafe(link_section = {:?})]\n\
         static ROADSTEAD_WIT: [u8; {}] = *{};\n",
        section::NAME,
        section.len(),
        section::byte_string(&section),
    ));
    Ok(parse(&code))
}

/// The single string literal of the macro's input.
fn literal(input: TokenStream) -> Result<String, String> {
    let expected = "expected one path in quotes, like embed_wit!(\"wit\")";
    let mut tokens = input.into_iter();
    match (tokens.next(), tokens.next()) {
        (Some(TokenTree::Literal(literal)), None) => {
            let text = literal.to_string();
            let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            match inner {
                Some(path) if !path.contains('\\') => Ok(path.to_owned()),
                _ => Err(format!("{expected}, not {text}")),
            }
        }
        _ => Err(expected.to_owned()),
    }
}

fn crate_directory() -> Result<PathBuf, String> {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .map(|path| Path::new(&path).to_owned())
        .ok_or_else(|| "CARGO_MANIFEST_DIR is not set: build with cargo".to_owned())
}

fn parse(code: &str) -> TokenStream {
    code.parse().unwrap_or_default()
}
