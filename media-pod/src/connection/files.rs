//! The worker's arguments, with files that came over the connection in place of the application's.

use mafalda_link::{FILE_ARGUMENTS, Start};
use std::fs;
use tempfile::TempDir;

/// The arguments of mediasoup's worker. Its option parser takes abbreviations and separate values
/// too, which nobody needs and which could name files of the pod: only this form passes.
const ARGUMENTS: [&str; 7] = [
    "--logLevel",
    "--logTag",
    "--logTags",
    "--rtcMinPort",
    "--rtcMaxPort",
    "--libwebrtcFieldTrials",
    "--disableLiburing",
];

/// Why there are no arguments.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("unknown worker argument; known are {} and {}", ARGUMENTS.join(", "), FILE_ARGUMENTS.join(", "))]
    Unknown,
    #[error("cannot keep the certificate: {0}")]
    Io(#[from] std::io::Error),
}

/// Arguments and, as long as this lives, the files they name.
pub struct Arguments {
    pub args: Vec<String>,
    _folder: Option<TempDir>,
}

/// Writes the files and makes the arguments name them. One that the application could not read is
/// named and not there, so that the worker refuses its settings.
pub fn place(start: &Start) -> Result<Arguments, FilesError> {
    let mut args = Vec::new();
    let mut folder = None;
    for argument in &start.args {
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        if ARGUMENTS.contains(&name) {
            args.push(argument.clone());
        } else if FILE_ARGUMENTS.contains(&name) {
            if value.is_empty() {
                args.push(format!("{name}="));
                continue;
            }
            let folder = match &mut folder {
                Some(folder) => folder,
                None => folder.insert(TempDir::with_prefix("mafalda-")?),
            };
            let path = folder.path().join(name.trim_start_matches('-'));
            if let Some(content) = start.files.get(name) {
                fs::write(&path, content)?;
            }
            args.push(format!("{name}={}", path.display()));
        } else {
            return Err(FilesError::Unknown);
        }
    }
    Ok(Arguments {
        args,
        _folder: folder,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(args: &[&str]) -> Start {
        Start {
            pid: 1,
            args: args.iter().map(ToString::to_string).collect(),
            files: [("--dtlsCertificateFile".to_owned(), "PEM".to_owned())].into(),
            hand_over: false,
        }
    }

    #[test]
    fn a_certificate_is_read_from_the_connection_and_nowhere_else() {
        let arguments = place(&start(&[
            "--logLevel=warn",
            "--dtlsCertificateFile=/etc/app.crt",
            "--dtlsPrivateKeyFile=/etc/shadow",
        ]))
        .unwrap();
        let path = |index: usize| arguments.args[index].split_once('=').unwrap().1;
        assert_eq!(arguments.args[0], "--logLevel=warn");
        assert_eq!(fs::read_to_string(path(1)).unwrap(), "PEM");
        assert!(!fs::exists(path(2)).unwrap());
    }

    #[test]
    fn other_ways_to_name_files_are_refused() {
        for argument in ["--dtlsCert=/etc/shadow", "/etc/shadow", "-c/etc/shadow", ""] {
            assert!(place(&start(&[argument])).is_err(), "{argument}");
        }
    }
}
