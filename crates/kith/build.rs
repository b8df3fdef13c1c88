//! How the program is linked.

use std::env::var;
use std::process::Command;

/// The first glibc whose dynamic linker reads packed relocations (its release notes of August 2022).
const READS_PACKED_RELOCATIONS: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // What the dynamic linker reads at each start stays in memory: packed, 2 MB less of it.
    if glibc().is_some_and(|version| version >= READS_PACKED_RELOCATIONS) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this computer's C library, if the program is built for this computer and uses it.
fn glibc() -> Option<(u32, u32)> {
    let is_for_here = var("TARGET").ok()? == var("HOST").ok()?;
    let is_glibc = var("CARGO_CFG_TARGET_OS").ok()? == "linux" && var("CARGO_CFG_TARGET_ENV").ok()? == "gnu";
    if !is_for_here || !is_glibc {
        return None;
    }
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let told = String::from_utf8(told.stdout).ok()?;
    let (major, minor) = told.trim().strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
