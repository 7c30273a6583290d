//! What a worker is started with.

use std::ffi::{CStr, CString, NulError, OsString};
use std::os::unix::ffi::OsStringExt;

/// Version and arguments, as `mediasoup_worker_run` takes them.
#[derive(Debug, PartialEq, Eq)]
pub struct Start {
    /// The application's mediasoup version, for the log alone.
    pub version: CString,
    /// The program's name and mediasoup's settings, such as `--logLevel=warn`.
    pub args: Vec<CString>,
}

impl Start {
    /// From `MEDIASOUP_VERSION` and the program's arguments, as mediasoup
    /// starts its worker. `None` when the variable is not set.
    pub fn from_environment() -> Option<Self> {
        Some(Self {
            version: c_string(std::env::var_os("MEDIASOUP_VERSION")?),
            args: std::env::args_os().map(c_string).collect(),
        })
    }

    /// From strings that came in a message. `settings` are the arguments
    /// without the program's name.
    ///
    /// # Errors
    /// When a string holds a NUL.
    pub fn new(version: String, settings: Vec<String>) -> Result<Self, NulError> {
        let mut args = vec![own_name()];
        for setting in settings {
            args.push(CString::new(setting)?);
        }
        Ok(Self {
            version: CString::new(version)?,
            args,
        })
    }
}

/// The name this program was started under: what getopt skips.
fn own_name() -> CString {
    std::env::args_os()
        .next()
        .map_or_else(|| c"mafalda-media-worker".to_owned(), c_string)
}

/// The same bytes. The kernel hands arguments and environment over as C
/// strings, so no NUL is in them; were there one, the string would end at it,
/// as it does for any C program.
fn c_string(text: OsString) -> CString {
    let mut bytes = text.into_vec();
    bytes.push(0);
    CStr::from_bytes_until_nul(&bytes)
        .map(CStr::to_owned)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_follow_the_name_of_the_program() {
        let start = Start::new("3.27.1".into(), vec!["--logLevel=warn".into()]).unwrap();
        assert_eq!(start.version.as_c_str(), c"3.27.1");
        assert_eq!(start.args.len(), 2);
        assert_eq!(start.args[1].as_c_str(), c"--logLevel=warn");
    }

    #[test]
    fn a_nul_in_a_message_is_an_error() {
        assert!(Start::new("3\0".into(), vec![]).is_err());
        assert!(Start::new("3".into(), vec!["--a\0b".into()]).is_err());
    }
}
