//! Turns a component in text form into its binary: `wat-to-wasm IN.wat OUT.wasm`.

use std::{env, error::Error, fs, process::ExitCode};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wat-to-wasm: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [input, output] = arguments.as_slice() else {
        return Err("usage: wat-to-wasm IN.wat OUT.wasm".into());
    };
    fs::write(output, wat::parse_file(input)?).map_err(|error| format!("{output}: {error}"))?;
    Ok(())
}
