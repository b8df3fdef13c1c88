//! What depends on the operating system: which programs know the rules.

#[cfg(any(target_os = "linux", test))]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "compiled here only to be tested"))]
mod linux;
#[cfg(any(not(target_os = "linux"), test))]
#[cfg_attr(target_os = "linux", expect(dead_code, reason = "compiled here only to be tested"))]
mod portable;

#[cfg(target_os = "linux")]
pub(super) use linux::texts;
#[cfg(not(target_os = "linux"))]
pub(super) use portable::texts;
