//! `mafalda keygen` and `mafalda token`.

use mafalda_token::{Claims, Limits, Role, expiry, generate_keys, sign};
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Arguments of `mafalda keygen`.
#[derive(clap::Args)]
pub struct KeygenArguments {
    /// Folder for mafalda.key (signs tokens: keep it secret) and mafalda.pub (for the pods).
    #[arg(long, default_value = ".")]
    out: PathBuf,
}

/// Arguments of `mafalda token`.
#[derive(clap::Args)]
pub struct TokenArguments {
    /// The private key, mafalda.key of `mafalda keygen`.
    #[arg(long)]
    key: PathBuf,
    /// The cluster that the token is for: what its pods were given as --cluster.
    #[arg(long, default_value = "mafalda")]
    cluster: String,
    /// What the holder is: `app` may run workers, `monitor` may read status, `operator` both.
    #[arg(long, value_enum)]
    role: Role,
    /// The session that the token is for, `*` for all.
    #[arg(long, default_value = "*")]
    session: String,
    /// Whose token it is: limits count by it, else by the client's address.
    #[arg(long)]
    subject: Option<String>,
    /// Workers at once, if fewer than the pod allows.
    #[arg(long)]
    workers: Option<usize>,
    /// How long the token is good for, such as 30m, 12h or 7d.
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: std::time::Duration,
}

fn write_new(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
    file.write_all(text.as_bytes())
}

/// Makes a pair of keys, and overwrites none.
pub fn keygen(arguments: &KeygenArguments) -> Result<(), Box<dyn Error>> {
    let keys = generate_keys()?;
    fs::create_dir_all(&arguments.out)?;
    let (private, public) = (
        arguments.out.join("mafalda.key"),
        arguments.out.join("mafalda.pub"),
    );
    write_new(&private, 0o600, &keys.private)?;
    write_new(&public, 0o644, &keys.public)?;
    println!("{} signs tokens, keep it secret", private.display());
    println!(
        "{} is for the pods: mafalda serve --token-key",
        public.display()
    );
    Ok(())
}

/// Prints a token.
pub fn token(arguments: &TokenArguments) -> Result<(), Box<dyn Error>> {
    let key = fs::read(&arguments.key)
        .map_err(|error| format!("--key {}: {error}", arguments.key.display()))?;
    let claims = Claims {
        aud: arguments.cluster.clone(),
        sub: arguments.subject.clone(),
        role: arguments.role,
        session: arguments.session.clone(),
        limits: Limits {
            workers: arguments.workers,
        },
        exp: expiry(arguments.ttl),
    };
    println!("{}", sign(&key, &claims)?);
    Ok(())
}
