//! The command line's words. Names are a contract.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::bugreport::DEFAULT_LINES;
use crate::settings::{ByteSize, parse_duration};

use super::time::parse_time;

/// Friends' computers that back up to each other, without a cloud in between.
#[derive(Parser)]
#[command(name = "kith", version, arg_required_else_help = true, disable_help_subcommand = false)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 done with omissions, 4 daemon not running.\n\
    Start with `kith daemon`, then `kith invite` on one computer and `kith join` on the other."
)]
pub struct Cli {
    /// Directory of everything this computer's Kith keeps (default: the user's daemon, then the system's)
    #[arg(long, global = true, value_name = "DIR", env = "KITH_HOME", hide_env_values = true)]
    pub home: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground
    Daemon,
    /// Show this computer, its ports and friends
    Status(Json),
    /// Print this computer's device id
    Id,
    /// Open the app in the browser
    Open {
        /// Only print the one-time address
        #[arg(long)]
        print: bool,
    },
    /// Make an invite: one line on standard output, for `kith join` on another computer
    Invite {
        /// What to offer the friend, as in 500GB (default: the setting vault.default-quota)
        #[arg(long, value_name = "SIZE")]
        quota: Option<ByteSize>,
        /// How long the invite is open, as in 2h or 7d
        #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "7d")]
        expires: Duration,
        /// The other computer is my own; it must be confirmed there with `kith join --own`
        #[arg(long)]
        own: bool,
        /// Show a QR code on standard error too
        #[arg(long)]
        qr: bool,
    },
    /// Join by an invite (or a reply line), read from standard input or asked for
    Join {
        /// "-" reads standard input, which is the default; the invite itself never stands on the command line
        #[arg(value_name = "-", value_parser = ["-"])]
        stdin: Option<String>,
        /// What to offer the inviter, as in 500GB (default: the setting vault.default-quota)
        #[arg(long, value_name = "SIZE")]
        quota: Option<ByteSize>,
        /// Confirm that the inviter's computer is my own
        #[arg(long)]
        own: bool,
    },
    /// List friends with the state of their links, how well they could be reached this week, and their addresses
    Friends {
        /// Only this one, with all that is known of the way to him
        name: Option<String>,
        /// Output
        #[command(flatten)]
        json: Json,
    },
    /// Change a friend
    #[command(subcommand)]
    Friend(FriendCommand),
    /// Choose what is backed up, and to whom
    #[command(subcommand)]
    Set(SetCommand),
    /// Back up now and wait: exit code 0 only if a complete snapshot is durable at the friend, 3 if files were skipped
    Backup {
        /// Only this set
        set: Option<String>,
        /// Only to this friend
        #[arg(long, value_name = "FRIEND")]
        to: Option<String>,
    },
    /// List snapshots
    Snapshots {
        /// Only at this friend
        #[arg(long, value_name = "FRIEND")]
        from: Option<String>,
        /// Only of this set
        #[arg(long, value_name = "NAME")]
        set: Option<String>,
        /// As the archives were at this time by the friend's clock: 2026-11-20T14:30:00Z, 2026-11-20, or 3d (ago)
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        as_of: Option<Timestamp>,
        /// Output
        #[command(flatten)]
        json: Json,
    },
    /// List a folder of a snapshot
    Ls {
        /// "latest", or the first 8 or more characters of a snapshot's id
        snapshot: String,
        /// Folder or file in the snapshot (default: its top)
        path: Option<String>,
        /// Only look at this friend
        #[arg(long, value_name = "FRIEND")]
        from: Option<String>,
        /// As the archives were at this time by the friend's clock: 2026-11-20T14:30:00Z, 2026-11-20, or 3d (ago)
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        as_of: Option<Timestamp>,
        /// Output
        #[command(flatten)]
        json: Json,
    },
    /// Find files by a glob over all snapshots
    Find {
        /// A name as in *.jpg, or a path as in /home/*/letters/**
        pattern: String,
        /// Only look at this friend
        #[arg(long, value_name = "FRIEND")]
        from: Option<String>,
        /// As the archives were at this time by the friend's clock: 2026-11-20T14:30:00Z, 2026-11-20, or 3d (ago)
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        as_of: Option<Timestamp>,
        /// Output
        #[command(flatten)]
        json: Json,
    },
    /// Restore files. They land under the target with their full path below it
    Restore(RestoreArgs),
    /// Bring back what was deleted from the archive at a friend after a time, as long as the friend still holds it
    Undelete {
        /// The friend
        friend: String,
        /// By the friend's clock: 2026-11-20T14:30:00Z, 2026-11-20, or 3d (ago)
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        as_of: Timestamp,
    },
    /// Read everything that is kept here for friends and compare it; `kith status` shows how far it is
    Scrub,
    /// Check the archive at a friend
    Check {
        /// The friend
        friend: String,
        /// Read and verify every byte too
        #[arg(long)]
        read_data: bool,
    },
    /// Test whether the port of another computer is open and what answers there
    Probe {
        /// Name or address
        host: String,
        /// Port
        #[arg(default_value_t = 4242)]
        port: u16,
        /// Device id or name of the friend who should answer
        #[arg(long, value_name = "FRIEND")]
        expect: Option<String>,
        /// Output
        #[command(flatten)]
        json: Json,
    },
    /// List the ports in use: where, and why
    Ports {
        /// What firewalls must let through instead, by the settings in force: packet filters, proxies, ports that are mapped
        #[arg(long)]
        firewall: bool,
        /// Output
        #[command(flatten)]
        json: Json,
    },
    /// Say why a friend does not connect: one cause, one thing to do. Exit code 1 when something is wrong; commands behind it in a
    /// line with commas are done all the same
    Doctor(DoctorArgs),
    /// Say what a code of `kith doctor` means and what to do; without a code, list all
    Explain {
        /// As in firewall-in
        code: Option<String>,
        /// Output
        #[command(flatten)]
        json: Json,
    },
    /// What is needed when this computer is lost
    #[command(subcommand)]
    Recovery(RecoveryCommand),
    /// Become a lost computer again: reads its 24 words from standard input, on a home without friends. On a home from which
    /// another computer has taken over: write again, and stop that one
    Recover {
        /// Address of a friend of the lost computer; may be given several times
        #[arg(long, value_name = "HOST:PORT", required = true)]
        from: Vec<String>,
    },
    /// Show or change settings
    #[command(subcommand)]
    Settings(SettingsCommand),
    /// Pause backups for a while
    Pause {
        /// As in 30m or 8h
        #[arg(value_parser = parse_duration)]
        duration: Duration,
    },
    /// End the pause
    Resume,
    /// Re-authenticate: drop every link, dial and authenticate again
    Ra,
    /// Restart the daemon
    Restart,
    /// Show the daemon's log
    Logs {
        /// How many of the last lines
        #[arg(short = 'n', long, default_value_t = 200)]
        lines: usize,
    },
    /// Make a report for somebody who helps: status, settings, sizes and log in one text file, with every name, path and
    /// address replaced. It is shown first
    Bugreport {
        /// Where to write it; must not exist (default: kith-report-TIME.txt in the current directory)
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Write it without showing it and asking
        #[arg(long)]
        yes: bool,
        /// How many of the last lines of the log, 20000 at most
        #[arg(short = 'n', long, default_value_t = DEFAULT_LINES)]
        lines: usize,
    },
    /// Run a hub: a service by which many computers find and reach each other
    Hub(HubArgs),
    /// Show what Kith does: two computers on this one back up to each other, and a third recovers
    Demo(DemoArgs),
    /// Print a completion script for a shell
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(hide = true)]
    Man,
    /// Print the IP addresses of a host, one on a line
    #[command(hide = true)]
    Lookup {
        /// Its name
        host: String,
    },
}

/// The doctor.
#[derive(Args)]
pub struct DoctorArgs {
    /// The friend in question (default: this computer alone)
    pub friend: Option<String>,
    /// The line that `kith doctor --code` printed on the friend's computer, for when it can't be asked; "-" reads standard input
    #[arg(long, value_name = "LINE", requires = "friend", conflicts_with = "code")]
    pub with: Option<String>,
    /// Print a line about this computer for a friend's `kith doctor --with`
    #[arg(long)]
    pub code: bool,
    /// Output
    #[command(flatten)]
    pub json: Json,
}

/// Output for programs.
#[derive(Args, Clone, Copy)]
pub struct Json {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Changes to a friend.
#[derive(Subcommand)]
pub enum FriendCommand {
    /// Give a friend another name on this computer
    Rename {
        /// The friend
        name: String,
        /// The new name
        new: String,
    },
    /// Forget a friend; what is stored here for him stays on the disk
    Remove {
        /// The friend
        name: String,
    },
    /// Take nothing from a friend for now; what is stored stays, and he can restore
    Pause {
        /// The friend
        name: String,
    },
    /// End the pause of a friend
    Resume {
        /// The friend
        name: String,
    },
    /// Change how much a friend may store here
    Quota {
        /// The friend
        name: String,
        /// As in 500GB
        size: ByteSize,
    },
    /// Add an address to try besides those known
    Address {
        /// The friend
        name: String,
        /// HOST:PORT
        address: String,
    },
    /// Say that you know that snapshots are lost at a friend: they are not asked for any more
    AcceptLoss {
        /// The friend
        name: String,
    },
}

/// Changes to the sets.
#[derive(Subcommand)]
pub enum SetCommand {
    /// Add a set
    Add {
        /// A new name
        name: String,
        /// Folders and files
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// A friend it goes to; may be given several times
        #[arg(long, value_name = "FRIEND", required = true)]
        to: Vec<String>,
        /// A friend who takes over while one of the others is away; may be given several times
        #[arg(long, value_name = "FRIEND")]
        alternate: Vec<String>,
        /// Leave out what fits: *.tmp, cache, /home/*/Downloads; may be given several times
        #[arg(long, value_name = "GLOB")]
        exclude: Vec<String>,
    },
    /// List the sets
    List(Json),
    /// Remove a set; its snapshots stay
    Remove {
        /// Its name
        name: String,
    },
}

/// How to restore.
#[derive(Args)]
pub struct RestoreArgs {
    /// "latest", or the first 8 or more characters of a snapshot's id
    pub snapshot: String,
    /// Only this file or folder of the snapshot
    pub path: Option<PathBuf>,
    /// Where to; the full path of each file is made below it
    #[arg(long, value_name = "DIR")]
    pub target: PathBuf,
    /// From the archive as it was at this time by the friend's clock: 2026-11-20T14:30:00Z, 2026-11-20, or 3d (ago)
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "repository")]
    pub as_of: Option<Timestamp>,
    /// Only look at this friend
    #[arg(long, value_name = "FRIEND", conflicts_with = "repository")]
    pub from: Option<String>,
    /// With "latest": the newest snapshot of this set
    #[arg(long, value_name = "NAME")]
    pub set: Option<String>,
    /// Restore from a restic repository in this directory instead; its password is read from standard input
    #[arg(long, value_name = "DIR")]
    pub repository: Option<PathBuf>,
    /// What to do with files that exist already
    #[arg(long, value_enum, default_value_t = OverwriteArg::Never)]
    pub overwrite: OverwriteArg,
}

/// What to do with files that exist already.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OverwriteArg {
    /// Keep them
    Never,
    /// Replace those that differ
    Changed,
    /// Replace them
    Always,
}

/// What is needed when this computer is lost.
#[derive(Subcommand)]
pub enum RecoveryCommand {
    /// Show the printable sheet with the 24 words and the friends' addresses
    Show {
        /// Don't ask whether somebody looks over your shoulder
        #[arg(long)]
        yes: bool,
        /// Print the 24 words alone, on one line
        #[arg(long)]
        words: bool,
    },
    /// Write a restic key file for the archive at a friend; its password is printed alone on standard output
    ResticKey {
        /// The friend
        friend: String,
        /// Where to write it; must not exist
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// Settings.
#[derive(Subcommand)]
pub enum SettingsCommand {
    /// Show a setting, or all
    Get {
        /// As in listener.port
        key: Option<String>,
        /// Output
        #[command(flatten)]
        json: Json,
    },
    /// Change a setting in the home's kith.toml
    Set {
        /// As in listener.port
        key: String,
        /// As in 4300 or '["0.0.0.0"]'
        value: String,
    },
}

/// A hub.
#[derive(Args)]
#[command(
    after_help = "Its settings are the section [hub] of kith.toml in its home, which is kith-hub beside the home of a daemon unless \
    --home names another. The lines kith://DEVICEID@HOST:PORT that it prints go into network.hubs of every computer that is to use it."
)]
pub struct HubArgs {
    /// What else to do than to run it
    #[command(subcommand)]
    pub command: Option<HubCommand>,
}

/// What else to do than to run a hub.
#[derive(Subcommand)]
pub enum HubCommand {
    /// Let in one more computer, where hub.registration is "invite": prints the line for its network.hubs
    Invite {
        /// How long the line can be used, as in 2h or 7d
        #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "7d")]
        expires: Duration,
    },
    /// The ports of this hub and what each is for
    Ports {
        /// What firewalls must let through instead, by the settings in its file
        #[arg(long)]
        firewall: bool,
        /// Output for programs
        #[command(flatten)]
        json: Json,
    },
}

/// The demo.
#[derive(Args)]
pub struct DemoArgs {
    /// A folder to back up (default: a generated tree of 200 MB)
    pub dir: Option<PathBuf>,
    /// Leave both computers running, and say how to open their apps
    #[arg(long)]
    pub keep: bool,
}
