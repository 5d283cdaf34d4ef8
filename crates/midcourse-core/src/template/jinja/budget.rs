//! What a template may still do.
//!
//! Every step, every item visited or made and every byte read or written is paid for before it is done, so that
//! no template takes more time or memory than the budget stands for, whatever it is.

use super::{Fault, Run};

/// Bytes that one step pays for.
const BYTES_A_STEP: usize = 16;

/// Steps that are left.
#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
    whole: usize,
}

impl Budget {
    pub(super) fn new(steps: usize) -> Self {
        Self { left: steps, whole: steps }
    }

    /// Pays for one step.
    pub(super) fn step(&mut self) -> Run<()> {
        self.items(1)
    }

    /// Pays for visiting or making `n` items.
    pub(super) fn items(&mut self, n: usize) -> Run<()> {
        let Some(left) = self.left.checked_sub(n) else {
            let whole = self.whole;
            self.left = 0;
            return Err(Fault::exhausted(format!("it takes more than {whole} steps")));
        };
        self.left = left;
        Ok(())
    }

    /// Pays for reading or writing `n` bytes.
    pub(super) fn bytes(&mut self, n: usize) -> Run<()> {
        self.items(n / BYTES_A_STEP)
    }

    /// Appends `text` to `out`.
    pub(super) fn push(&mut self, out: &mut String, text: &str) -> Run<()> {
        self.bytes(text.len())?;
        out.push_str(text);
        Ok(())
    }
}
