//! Finds and reads the WIT files to embed.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One WIT file.
pub(crate) struct WitFile {
    /// Where it lies on this machine.
    pub(crate) source: PathBuf,
    /// Relative to the embedded directory, with `/` between its parts.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The `.wit` files under `root`, ordered by path; `root` may be a single file.
pub(crate) fn read(root: &Path) -> Result<Vec<WitFile>, String> {
    let mut files = Vec::new();
    if root.is_file() {
        let name = root.file_name().unwrap_or_default().to_string_lossy();
        files.push(read_file(root, name.into_owned())?);
    } else {
        collect(root, "", &mut files)?;
    }
    if files.is_empty() {
        return Err(format!("{} holds no .wit file", root.display()));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn collect(directory: &Path, prefix: &str, files: &mut Vec<WitFile>) -> Result<(), String> {
    let say = |error| format!("reading {}: {error}", directory.display());
    for entry in fs::read_dir(directory).map_err(say)? {
        let source = entry.map_err(say)?.path();
        let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if source.is_dir() {
            collect(&source, &format!("{prefix}{name}/"), files)?;
        } else if name.ends_with(".wit") {
            files.push(read_file(&source, format!("{prefix}{name}"))?);
        }
    }
    Ok(())
}

fn read_file(source: &Path, path: String) -> Result<WitFile, String> {
    let text = fs::read_to_string(source)
        .map_err(|error| format!("reading {}: {error}", source.display()))?;
    Ok(WitFile { source: source.to_owned(), path, text })
}
