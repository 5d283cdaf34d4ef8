//! SIGINT and SIGTERM: the first asks a run to finish what is in flight, a second SIGINT stops at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::Failure;

/// What signals have come.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    /// The number of the first signal; 0 while none has come.
    received: Arc<AtomicUsize>,
}

impl Signals {
    /// Starts listening.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let received = Arc::new(AtomicUsize::new(0));
        let again = Arc::new(AtomicBool::new(false));
        flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&again))?;
        flag::register(SIGINT, again)?;
        for signal in [SIGINT, SIGTERM] {
            flag::register_usize(signal, Arc::clone(&received), signal as usize)?;
        }
        Ok(Self { received })
    }

    /// As if this signal had come, or none with 0; nothing is listened for.
    #[cfg(test)]
    pub(crate) fn received(signal: usize) -> Self {
        Self { received: Arc::new(AtomicUsize::new(signal)) }
    }

    /// Whether the run should come to its end.
    pub(crate) fn stopping(&self) -> bool {
        self.received.load(Ordering::Relaxed) != 0
    }

    /// The failure to end with, once a signal has come.
    pub(crate) fn failure(&self, hint: String) -> Option<Failure> {
        match i32::try_from(self.received.load(Ordering::Relaxed)).unwrap_or(0) {
            SIGINT => Some(Failure::Signal { name: "SIGINT", code: 130, hint }),
            SIGTERM => Some(Failure::Signal { name: "SIGTERM", code: 143, hint }),
            _ => None,
        }
    }
}
