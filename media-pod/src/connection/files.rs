//! The worker's arguments, with files that came over the connection in place of the application's.

use crate::ListenInfos;
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

/// mediasoup's log tags (`WorkerLogTag`).
const LOG_TAGS: [&str; 13] = [
    "info",
    "ice",
    "dtls",
    "rtp",
    "srtp",
    "rtcp",
    "rtx",
    "bwe",
    "score",
    "simulcast",
    "svc",
    "sctp",
    "message",
];

/// The first and the last port that both libraries ask for unless told.
const DEFAULT_PORTS: (u16, u16) = (10_000, 59_999);

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

/// Whether a worker with these arguments is as good as one of the pod's own: nothing in them changes
/// what it does. What a worker that several share logs is the pod's business.
pub fn are_common(args: &[String], listen_infos: ListenInfos) -> bool {
    let mut ports = DEFAULT_PORTS;
    let mut is_common = |argument: &String| match argument.split_once('=') {
        Some(("--logLevel", level)) => ["none", "error", "warn"].contains(&level),
        Some(("--logTag" | "--logTags", tag)) => LOG_TAGS.contains(&tag),
        Some(("--rtcMinPort", port)) => port.parse().map(|port| ports.0 = port).is_ok(),
        Some(("--rtcMaxPort", port)) => port.parse().map(|port| ports.1 = port).is_ok(),
        Some(("--disableLiburing", _)) => true,
        _ => false,
    };
    let all = args.iter().all(&mut is_common);
    // The pod's listen infos name ports themselves.
    let any_ports = listen_infos == ListenInfos::Pod && ports.0 <= ports.1;
    all && (any_ports || ports == DEFAULT_PORTS)
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

    #[test]
    fn what_changes_a_worker_needs_a_worker_of_its_own() {
        for (args, application, common) in [
            (&[][..], true, true),
            (&["--logLevel=warn", "--logTag=ice"], true, true),
            (&["--logLevel=debug"], true, false),
            (&["--logTag=chicken"], true, false),
            (&["--rtcMinPort=10000", "--rtcMaxPort=59999"], true, true),
            (&["--rtcMinPort=2000", "--rtcMaxPort=3000"], true, false),
            (&["--rtcMinPort=2000", "--rtcMaxPort=3000"], false, true),
            (&["--rtcMinPort=3000", "--rtcMaxPort=2000"], false, false),
            (&["--dtlsCertificateFile=/tmp/a"], true, false),
            (&["--libwebrtcFieldTrials=x"], true, false),
        ] {
            let listen_infos = match application {
                true => ListenInfos::Application,
                false => ListenInfos::Pod,
            };
            let strings: Vec<String> = args.iter().map(ToString::to_string).collect();
            assert_eq!(are_common(&strings, listen_infos), common, "{args:?}");
        }
    }
}
