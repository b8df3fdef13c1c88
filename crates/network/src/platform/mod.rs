//! What depends on the operating system: routes, kinds of devices, the kernel's messages, clocks.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(not(target_os = "linux"), test))]
#[cfg_attr(target_os = "linux", expect(dead_code, reason = "compiled here only to be tested"))]
mod portable;

#[cfg(target_os = "linux")]
pub(crate) use linux::{KernelNews, clocks, take};
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::{KernelNews, clocks, take};
