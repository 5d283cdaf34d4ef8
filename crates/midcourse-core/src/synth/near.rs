//! stub
#![allow(missing_docs)]
pub struct Near {
    pub place: usize,
    pub jaccard: f64,
}
pub struct NearIndex(Vec<(usize, String)>);
impl NearIndex {
    pub fn new() -> Self {
        Self(vec![])
    }
    pub fn find(&self, t: &str) -> Option<Near> {
        self.0.iter().find(|x| x.1 == t).map(|x| Near { place: x.0, jaccard: 1.0 })
    }
    pub fn insert(&mut self, p: usize, t: &str) {
        self.0.push((p, t.into()));
    }
}
