//! The schema's Rust code, made as `mediasoup-sys` makes it.

use std::path::{Path, PathBuf};
use std::{env, error, fs};

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo:rerun-if-changed=fbs");
    let mut schema: Vec<PathBuf> = fs::read_dir("fbs")?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, std::io::Error>>()?;
    schema.retain(|path| path.extension().is_some_and(|extension| extension == "fbs"));
    schema.sort();
    let declarations = planus_translation::translate_files(&schema).ok_or("not a schema: fbs")?;
    let code = planus_codegen::generate_rust(&declarations)?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("fbs.rs"), code)?;
    Ok(())
}
