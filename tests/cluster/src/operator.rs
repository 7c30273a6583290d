//! The operator as a process beside the control plane, with media pods of the built programs.

use crate::cluster::{Cluster, Error};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The image that [`load_media_pod`] brings to the nodes.
pub const IMAGE: &str = "localhost/mafalda:dev";

/// The operator, as one process. It is killed when this is dropped.
pub struct Operator {
    process: Child,
    port: u16,
}

/// The folder of the built programs: `MAFALDA_PROGRAMS`, else where this test was built.
pub(crate) fn programs() -> PathBuf {
    std::env::var_os("MAFALDA_PROGRAMS").map_or_else(
        || {
            let test = std::env::current_exe().expect("a process knows its program");
            let release = test.parent().and_then(Path::parent);
            release
                .expect("tests are in target/release/deps")
                .to_owned()
        },
        PathBuf::from,
    )
}

/// Makes the media pod's image of the built programs and brings it to all nodes.
///
/// # Errors
/// When the programs are not built, or the nodes do not take the image.
pub fn load_media_pod(cluster: &Cluster) -> Result<(), Error> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/images");
    let folder = tempfile::tempdir().map_err(|error| start(script, error))?;
    let output = Command::new(script)
        .arg(programs())
        .env("CARGO_TARGET_DIR", folder.path())
        .output()
        .map_err(|error| start(script, error))?;
    if !output.status.success() {
        return Err(Error::Verb {
            verb: script.to_owned(),
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    let archive = folder
        .path()
        .join("images/mafalda.tar")
        .display()
        .to_string();
    cluster.script(&["load-image", &archive]).map(drop)
}

fn start(program: &str, error: std::io::Error) -> Error {
    Error::Start {
        script: program.to_owned(),
        error,
    }
}

impl Operator {
    /// Starts a replica of that name from a thread of [`Cluster::run`], with short times for what
    /// takes minutes otherwise. Its log is a file of that name in the temporary folder. It ends with
    /// that thread, however that ends: a test that is killed leaves no operator behind.
    ///
    /// # Errors
    /// When it is not built.
    pub fn start(cluster: &Cluster, name: &str, port: u16) -> Result<Self, Error> {
        Self::start_with(cluster, name, port, &[])
    }

    /// As [`Operator::start`], with more arguments.
    ///
    /// # Errors
    /// When it is not built.
    pub fn start_with(
        cluster: &Cluster,
        name: &str,
        port: u16,
        more: &[&str],
    ) -> Result<Self, Error> {
        let program = programs().join("mafalda-operator");
        let shown = program.display().to_string();
        let path = std::env::temp_dir().join(format!("mafalda-{name}.log"));
        let log = File::options().create(true).append(true).open(path);
        let log = log.map_err(|error| start(&shown, error))?;
        std::fs::metadata(&program).map_err(|error| start(&shown, error))?;
        // It becomes the program, with the same id; the kernel kills that when the thread is gone.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(&program)
            .args(["run", "--image", IMAGE, "--identity", name])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--settle-seconds", "5", "--cordon-seconds", "2"])
            .args(more)
            .env("KUBECONFIG", cluster.kubeconfig())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| start("setpriv", error))?;
        Ok(Self { process, port })
    }

    /// Where it serves `/metrics`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to end, as the kubelet does.
    ///
    /// # Panics
    /// When it has ended by itself.
    pub fn terminate(&self) {
        let id = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw);
        let told = kill_process(id.expect("a process has an id"), Signal::TERM);
        told.expect("it runs");
    }

    /// Whether it has ended in order.
    ///
    /// # Panics
    /// When it has ended otherwise.
    pub fn has_ended(&mut self) -> bool {
        let status = self
            .process
            .try_wait()
            .expect("it is a child of this process");
        assert!(status.is_none_or(|status| status.success()), "{status:?}");
        status.is_some()
    }

    /// Kills it: no last words.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
    }
}
