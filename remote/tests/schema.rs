//! `remote/mediasoup-sys` has the name, the version and the schema of the package that it takes the
//! place of, and so of the one that the media pod is built with.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn metadata(manifest: &Path) -> Value {
    let output = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--manifest-path",
        ])
        .arg(manifest)
        .output()
        .unwrap();
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{problem}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The one package `mediasoup-sys` that a project is built with: its version and its folder.
fn mediasoup_sys(manifest: &Path) -> (String, PathBuf) {
    let metadata = metadata(manifest);
    let packages = metadata["packages"].as_array().unwrap();
    let mut found = packages
        .iter()
        .filter(|package| package["name"] == "mediasoup-sys");
    let (package, other) = (found.next().unwrap(), found.next());
    assert!(other.is_none(), "two packages mediasoup-sys: {other:?}");
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    let version = package["version"].as_str().unwrap().to_owned();
    (version, manifest.parent().unwrap().to_owned())
}

fn schema(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder.join("fbs")).unwrap();
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "fbs"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect()
}

#[test]
fn ours_is_the_original_but_for_its_worker() {
    let here = env::var("CARGO_MANIFEST_DIR").unwrap();
    let root = Path::new(&here).parent().unwrap();
    let (version, original) = mediasoup_sys(&root.join("Cargo.toml"));
    let (our_version, ours) = mediasoup_sys(&root.join("examples/rust-remote/Cargo.toml"));
    assert_eq!(ours, root.join("remote/mediasoup-sys"));
    assert_eq!(our_version, version);
    let (original, ours) = (schema(&original), schema(&ours));
    assert!(original.len() > 20);
    assert!(
        original == ours,
        "the files in remote/mediasoup-sys/fbs are not the original's"
    );
}
