//! The definitions as YAML: printed, or one file each.

use super::all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Why the definitions could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A definition has no form in YAML.
    #[error("custom resource definition as YAML: {0}")]
    Yaml(String),
    /// Standard output is gone.
    #[error("standard output: {0}")]
    Print(std::io::Error),
    /// The folder or a file in it cannot be written.
    #[error("{}: {error}", path.display())]
    Write {
        /// What was written to.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

/// Prints both definitions, as one stream of YAML documents.
///
/// # Errors
/// When `out` takes no more.
pub fn print(out: &mut impl Write) -> Result<(), Error> {
    for crd in all() {
        let text = yaml(&crd)?;
        write!(out, "---\n{text}").map_err(Error::Print)?;
    }
    Ok(())
}

/// Writes each definition to a file of `folder`, which is made when it is not there.
///
/// # Errors
/// When the folder or a file cannot be written.
pub fn write(folder: &Path) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| Error::Write { path, error }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    for crd in all() {
        let path = folder.join(format!("{}.yaml", crd.spec.names.plural));
        let text = yaml(&crd)?;
        let head = "# Made by `mafalda-operator crds` from operator/src/crd: change it there.\n";
        std::fs::write(&path, format!("{head}{text}")).map_err(failed(&path))?;
    }
    Ok(())
}

fn yaml(crd: &CustomResourceDefinition) -> Result<String, Error> {
    serde_saphyr::to_string(crd).map_err(|error| Error::Yaml(error.to_string()))
}
