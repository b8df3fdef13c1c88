//! Names of hosts, looked up by TCP alone: where no packet of UDP may leave the computer.
//!
//! The C library's resolver asks name servers by TCP when the variable `RES_OPTIONS` of its process says so. Other programs of this
//! process would be none the wiser, but a running process can't change its own: hence each name is looked up by a process of its
//! own, this very program once more (`kith lookup`), which lives for as long as that takes.

use std::io::{self, Write};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::LazyLock;

use kith_peer::Names;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::Semaphore;

/// Names that are looked up at once.
const MOST_AT_ONCE: usize = 4;
/// Longest name that a host can have (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 253;
/// Most addresses of one name.
const MOST_ADDRESSES: usize = 16;
/// Most bytes that are read of an answer: these addresses, or a sentence.
const MOST_ANSWER: u64 = 2048;
const OPTIONS: &str = "RES_OPTIONS";

/// Whether the C library understands `use-vc`.
const KNOWS_TCP: bool = cfg!(all(target_os = "linux", target_env = "gnu"));

/// Looks up names by TCP.
pub(crate) fn over_tcp() -> Names {
    static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(MOST_AT_ONCE));
    Names::new(|host| {
        Box::pin(async move {
            let _place = PLACES.acquire().await.map_err(io::Error::other)?;
            ask(&host).await
        })
    })
}

async fn ask(host: &str) -> io::Result<Vec<IpAddr>> {
    if !KNOWS_TCP {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "with network.outbound-only this system's name resolution, which uses UDP, is not asked; write an IP address",
        ));
    }
    if host.len() > LONGEST_NAME {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name is too long"));
    }
    let options = match std::env::var(OPTIONS) {
        Ok(options) => format!("{options} use-vc"),
        Err(_unset) => "use-vc".to_owned(),
    };
    let mut child = Command::new(program()?)
        .args(["lookup", "--", host])
        .env(OPTIONS, options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let said = async |pipe: Option<&mut (dyn tokio::io::AsyncRead + Unpin + Send)>| {
        let mut text = String::new();
        match pipe {
            Some(pipe) => pipe.take(MOST_ANSWER).read_to_string(&mut text).await.map(|_length| text),
            None => Ok(text),
        }
    };
    let (mut out, mut error) = (child.stdout.take(), child.stderr.take());
    let (found, failure) = tokio::try_join!(
        said(out.as_mut().map(|pipe| pipe as _)),
        said(error.as_mut().map(|pipe| pipe as _))
    )?;
    if child.wait().await?.success() {
        return Ok(found.lines().filter_map(|line| line.parse().ok()).take(MOST_ADDRESSES).collect());
    }
    let failure = failure.lines().next().unwrap_or_default();
    Err(io::Error::other(failure.strip_prefix("error: ").unwrap_or(failure).to_owned()))
}

/// This program, also when its file was replaced by a newer one meanwhile.
fn program() -> io::Result<PathBuf> {
    let own = PathBuf::from("/proc/self/exe");
    if own.exists() { Ok(own) } else { std::env::current_exe() }
}

/// `kith lookup`: prints the addresses of a name.
pub(crate) fn print(host: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for address in (host, 0).to_socket_addrs()?.take(MOST_ADDRESSES) {
        writeln!(out, "{}", address.ip())?;
    }
    Ok(())
}
