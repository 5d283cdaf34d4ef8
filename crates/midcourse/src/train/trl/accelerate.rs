//! `accelerate.yaml`: how many processes there are, and what they share.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// What the script is launched with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Accelerate {
    /// The user's own file.
    Given(PathBuf),
    /// So many processes of this machine.
    Processes(usize, Device),
}

/// What a process computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    Cpu,
    Gpu,
}

impl Device {
    /// What this machine has.
    pub(crate) fn found() -> Self {
        if Path::new("/dev/nvidia0").exists() || Path::new("/dev/kfd").exists() {
            Self::Gpu
        } else {
            Self::Cpu
        }
    }
}

impl Accelerate {
    /// The file's text.
    ///
    /// # Errors
    /// When the user's file cannot be read.
    pub(super) fn yaml(&self) -> Result<String, Failure> {
        match self {
            Self::Given(path) => fs::read_to_string(path).map_err(|error| Failure::Input {
                problem: format!("--accelerate-config {}: {error}", path.display()),
                hint: "`accelerate config --config_file FILE` writes one; without the flag midcourse does"
                    .into(),
            }),
            Self::Processes(n, device) => {
                let text = match device {
                    Device::Cpu => include_str!("cpu.yaml"),
                    Device::Gpu => include_str!("gpu.yaml"),
                };
                // One process shares nothing.
                let kind = match (n, device) {
                    (1, _) => "'NO'",
                    (_, Device::Cpu) => "MULTI_GPU",
                    (_, Device::Gpu) => "FSDP",
                };
                Ok(text.replace("{{processes}}", &n.to_string()).replace("{{distributed}}", kind))
            }
        }
    }
}
