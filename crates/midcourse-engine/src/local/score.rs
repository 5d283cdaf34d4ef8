//! How likely a text is, token by token: one pass over the tokens, then the head over a few rows at a time, since
//! the logits of a long text would fill the memory.

use std::cmp::Ordering;

use midcourse_core::engine::{BoxError, Score, Scored, TokenId};
use rayon::prelude::*;

use super::{LocalEngine, log_softmax};
use crate::Result;
use crate::model::with_values;

/// Rows of logits held at once: as many as growing holds.
const LOGIT_ROWS: usize = super::grow::LOGIT_ROWS;

impl Score for LocalEngine {
    fn vocab(&self) -> usize {
        self.decoder.config.vocab
    }

    fn score(
        &self,
        tokens: &[TokenId],
        from: usize,
        n_likeliest: usize,
    ) -> std::result::Result<Vec<Scored>, BoxError> {
        let hidden = self.hidden(tokens)?;
        let mut scored = Vec::with_capacity(tokens.len().saturating_sub(from));
        for (chunk, given) in tokens[from..].chunks(LOGIT_ROWS).enumerate() {
            let at = from + chunk * LOGIT_ROWS;
            let rows = hidden.narrow(0, at - 1, given.len()).map_err(crate::Error::from)?;
            let logits = self.decoder.logits(&rows)?;
            let rows = with_values(&logits, |logits| {
                let rows = logits.par_chunks_exact(self.decoder.config.vocab).zip(given).enumerate();
                rows.map(|(i, (row, &token))| score_row(row, token, (at + i, n_likeliest)))
                    .collect::<Result<Vec<_>>>()
            })?;
            scored.extend(rows?);
        }
        Ok(scored)
    }
}

fn score_row(logits: &[f32], token: TokenId, (n_tokens, n): (usize, usize)) -> Result<Scored> {
    let logprobs = log_softmax(logits, n_tokens)?;
    let likelier =
        |a: &(TokenId, f64), b: &(TokenId, f64)| -> Ordering { b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)) };
    let mut likeliest: Vec<_> = logprobs.iter().enumerate().map(|(id, &p)| (id as TokenId, p)).collect();
    if n == 0 {
        likeliest.clear();
    } else if n < likeliest.len() {
        likeliest.select_nth_unstable_by(n - 1, likelier);
        likeliest.truncate(n);
    }
    likeliest.sort_unstable_by(likelier);
    likeliest.shrink_to_fit();
    Ok(Scored { token, logprob: logprobs[token as usize], likeliest })
}
