//! Calls into libraries that panic on damaged files.
//!
//! A file is hostile: whatever it makes a library do must end as an error that names it. Candle divides by a
//! GGUF file's `general.alignment` without looking, the tokenizers library indexes by what `tokenizer.json` says,
//! and the parquet library by what its pages say. Not for our own code, where a panic is a defect and should be found.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Makes a library's call; a panic becomes its message.
///
/// What the call was changing is not to be used after a panic.
pub fn contain<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let literal = panic.downcast_ref::<&str>().map(|&text| text.to_owned());
        let text = literal.or_else(|| panic.downcast_ref::<String>().cloned());
        format!("the library failed: {}", text.unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(contain(|| 7), Ok(7));
        let none: [u32; 0] = [];
        let problem = contain(|| none[std::hint::black_box(2)]).unwrap_err();
        assert!(problem.starts_with("the library failed: index out of bounds"), "{problem}");
    }
}
