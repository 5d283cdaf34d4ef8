//! Prompts that are nearly the same.
//!
//! Case, punctuation, white space and the width of letters do not count; texts that differ in nothing else are always
//! found. Others are found by the likeness of their shingles: `MinHash` brings together what may be alike, and the
//! shingles themselves decide. Words in another order and paraphrases are not found. There is no randomness: seeds
//! are fixed.
//!
//! Source: Broder 1997 (resemblance, and its estimate from the smallest hashes); Leskovec, Rajaraman and Ullman,
//! *Mining of Massive Datasets*, chapter 3 (bands).

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use unicode_segmentation::UnicodeSegmentation;

use super::script::{is_unspaced, is_wide};

/// Likeness from which two prompts are nearly the same.
///
/// Likeness is the Jaccard index of the sets of shingles. At 0.75 a word of five letters may be changed in a prompt
/// of thirteen words, or added to one of ten; no two prompts of `data/sandbox` are liker than 0.30.
pub(super) const NEAR: f64 = 0.75;

/// Letters of a shingle. A changed letter changes that many shingles; with fewer, all prompts of a language are
/// alike.
const SHINGLE_LETTERS: usize = 5;

/// The same for Han and Kana, of which two are a word.
const SHINGLE_WIDE: usize = 2;

/// Bands, and hashes of a band. Prompts of likeness s meet in a band with probability 1 − (1 − s⁵)²⁰: 99.5 % at 0.75,
/// 99.97 % at 0.8, 0.6 % at 0.2.
const BANDS: usize = 20;
const BAND_HASHES: usize = 5;

/// Shingles that are kept of a prompt, those with the smallest hashes. Of longer prompts (by the number of their
/// different shingles) the likeness is an estimate, with a standard error of at most 0.032.
const KEPT: usize = 256;

/// A prompt that is nearly the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Near {
    /// The place it was inserted with.
    pub place: usize,
    /// Its likeness, in [0.75, 1]; 1 also where only case, punctuation or white space differ.
    pub jaccard: f64,
}

/// Candidates that are compared at most, the latest first: a bound for prompts that share a long template. One that
/// differs in no shingle is found without comparing.
const MOST_COMPARED: usize = 1000;

/// Prompts to compare with.
#[derive(Debug)]
pub struct NearIndex {
    /// Of each hash of a shingle: what multiplies it, what is added.
    factors: Vec<(u64, u64)>,
    /// Shingles of all prompts, ascending within each.
    shingles: Vec<u32>,
    prompts: Vec<Prompt>,
    /// By the hash of all its shingles.
    whole: HashMap<u64, u32>,
    /// For each band and its hashes, the latest prompt that has them.
    latest: HashMap<u32, u32>,
}

#[derive(Debug)]
struct Prompt {
    place: usize,
    /// Where its shingles end; those of the next begin there.
    end: usize,
    /// For each band, the prompt before it with the same hashes.
    earlier: [u32; BANDS],
}

/// No earlier prompt.
const NONE: u32 = u32::MAX;

/// What is kept of a text.
struct Sketch {
    shingles: Vec<u32>,
    whole: u64,
    bands: [u32; BANDS],
}

impl NearIndex {
    /// An index of no prompts.
    pub fn new() -> Self {
        let factor = |i: usize| (mix(2 * i as u64) | 1, mix(2 * i as u64 + 1));
        let factors = (0..BANDS * BAND_HASHES).map(factor).collect();
        let (whole, latest) = (HashMap::new(), HashMap::new());
        Self { factors, shingles: Vec::new(), prompts: Vec::new(), whole, latest }
    }

    /// A prompt that is nearly the same as `text`, if one was inserted: one of several, not always the most alike.
    pub fn find(&self, text: &str) -> Option<Near> {
        let sketch = self.sketch(text);
        if let Some(id) = self.whole.get(&sketch.whole) {
            return Some(Near { place: self.prompts[*id as usize].place, jaccard: 1.0 });
        }
        let mut seen = HashSet::new();
        let met = sketch.bands.iter().enumerate().flat_map(|(band, key)| self.met(band, *key));
        let candidates = met.filter(|id| seen.insert(*id)).take(MOST_COMPARED);
        let mut compared = candidates.map(|id| Near {
            place: self.prompts[id].place,
            jaccard: jaccard(&sketch.shingles, self.shingles_of(id)),
        });
        compared.find(|near| near.jaccard >= NEAR)
    }

    /// The prompts that have these hashes of a band, the latest first.
    fn met(&self, band: usize, key: u32) -> impl Iterator<Item = usize> {
        let latest = self.latest.get(&key).copied();
        let earlier = move |id: &u32| Some(self.prompts[*id as usize].earlier[band]).filter(|id| *id != NONE);
        std::iter::successors(latest, earlier).map(|id| id as usize)
    }

    /// Adds a prompt; one that differs from an earlier one in no shingle adds nothing.
    pub fn insert(&mut self, place: usize, text: &str) {
        let sketch = self.sketch(text);
        let id = self.prompts.len() as u32;
        if *self.whole.entry(sketch.whole).or_insert(id) != id {
            return;
        }
        let earlier = sketch.bands.map(|band| self.latest.insert(band, id).unwrap_or(NONE));
        self.shingles.extend(sketch.shingles);
        self.prompts.push(Prompt { place, end: self.shingles.len(), earlier });
    }

    fn shingles_of(&self, id: usize) -> &[u32] {
        let begin = id.checked_sub(1).map_or(0, |before| self.prompts[before].end);
        &self.shingles[begin..self.prompts[id].end]
    }

    fn sketch(&self, text: &str) -> Sketch {
        let mut shingles = shingles(text);
        let whole = shingles.iter().fold(0, |hash, shingle| mix(hash ^ u64::from(*shingle)));
        let mut least = [u32::MAX; BANDS * BAND_HASHES];
        for shingle in &shingles {
            for (least, (factor, term)) in least.iter_mut().zip(&self.factors) {
                let hash = factor.wrapping_mul(u64::from(*shingle)).wrapping_add(*term) >> 32;
                *least = (*least).min(hash as u32);
            }
        }
        let band = |band: usize| {
            let hashes = &least[band * BAND_HASHES..(band + 1) * BAND_HASHES];
            hashes.iter().fold(band as u64, |hash, least| mix(hash ^ u64::from(*least))) as u32
        };
        shingles.truncate(KEPT);
        shingles.shrink_to_fit();
        Sketch { shingles, whole, bands: std::array::from_fn(band) }
    }
}

impl Default for NearIndex {
    fn default() -> Self {
        Self::new()
    }
}

/// Hashes of the shingles of a text, ascending, each once; at least one.
fn shingles(text: &str) -> Vec<u32> {
    let letters = normal_form(text);
    let len = |at: usize| if is_wide(letters[at]) { SHINGLE_WIDE } else { SHINGLE_LETTERS };
    let whole = (0..letters.len()).filter_map(|at| letters.get(at..at + len(at)));
    let mut hashes: Vec<u32> = whole.map(hash).collect();
    if hashes.is_empty() {
        hashes.push(hash(&letters));
    }
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// The words of a text in small letters, one space between them where writing has one; the text itself if it has no
/// word.
fn normal_form(text: &str) -> Vec<char> {
    let text = text.trim().chars().map(narrow).collect::<String>().to_lowercase();
    let mut letters: Vec<char> = Vec::with_capacity(text.len());
    for word in text.unicode_words() {
        let is_joined = |before: &char| is_unspaced(*before) && word.starts_with(is_unspaced);
        if !letters.last().is_none_or(is_joined) {
            letters.push(' ');
        }
        letters.extend(word.chars().filter(|c| c.is_alphanumeric()));
    }
    if letters.is_empty() { text.chars().collect() } else { letters }
}

/// The letter, digit or mark of ASCII that `c` is a wide form of.
fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        _ => c,
    }
}

fn hash(letters: &[char]) -> u32 {
    (letters.iter().fold(0, |hash, c| mix(hash ^ u64::from(*c))) >> 32) as u32
}

/// The finaliser of `SplitMix64` (Steele, Lea and Flood 2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The likeness of two sets of shingles, ascending; of longer ones than are kept, among the smallest of both
/// together.
fn jaccard(a: &[u32], b: &[u32]) -> f64 {
    let is_whole = a.len().max(b.len()) < KEPT;
    let most = if is_whole { usize::MAX } else { KEPT };
    let (mut at, mut bt, mut n_shared, mut n_both) = (0, 0, 0, 0);
    while n_both < most && (at < a.len() || bt < b.len()) {
        let order = match (a.get(at), b.get(bt)) {
            (Some(x), Some(y)) => x.cmp(y),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        at += usize::from(order.is_le());
        bt += usize::from(order.is_ge());
        n_shared += usize::from(order.is_eq());
        n_both += 1;
    }
    n_shared as f64 / n_both as f64
}

#[cfg(test)]
mod tests;
