//! The tiny model as a GGUF file that can be spoilt field by field.
//!
//! Written here and not by a library, so that it can also be written wrongly.

use crate::tiny_model::{self as tiny, Weight};

/// A metadata value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    U32(u32),
    I32(i32),
    U64(u64),
    F32(f32),
    Flag(bool),
    Text(String),
    Texts(Vec<String>),
    Ints(Vec<i32>),
}

impl Value {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// The number that stands for the type.
    fn kind(&self) -> u32 {
        match self {
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Flag(_) => 7,
            Self::Text(_) => 8,
            Self::Texts(_) | Self::Ints(_) => 9,
            Self::U64(_) => 10,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::U32(n) => n.to_le_bytes().to_vec(),
            Self::I32(n) => n.to_le_bytes().to_vec(),
            Self::U64(n) => n.to_le_bytes().to_vec(),
            Self::F32(x) => x.to_le_bytes().to_vec(),
            Self::Flag(flag) => vec![u8::from(*flag)],
            Self::Text(text) => string(text),
            Self::Texts(list) => array(8, list.len(), list.iter().flat_map(|text| string(text))),
            Self::Ints(list) => array(5, list.len(), list.iter().flat_map(|n| n.to_le_bytes())),
        }
    }
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn array(kind: u32, n: usize, bytes: impl Iterator<Item = u8>) -> Vec<u8> {
    let head = [&kind.to_le_bytes()[..], &(n as u64).to_le_bytes()].concat();
    head.into_iter().chain(bytes).collect()
}

/// A tensor: what its entry says and what its data is.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub name: String,
    /// As the file has them, innermost first.
    pub dims: Vec<u64>,
    /// 0 is f32.
    pub dtype: u32,
    /// Where its data begins; where it does begin when none.
    pub offset: Option<u64>,
    pub values: Vec<f32>,
}

/// A GGUF file before it is written.
#[derive(Debug, Clone)]
pub(crate) struct Gguf {
    pub magic: [u8; 4],
    pub version: u32,
    pub meta: Vec<(String, Value)>,
    pub tensors: Vec<Tensor>,
}

/// A GGUF file as bytes.
pub(crate) struct Written {
    pub bytes: Vec<u8>,
    /// Where fields of the header end.
    pub boundaries: Vec<usize>,
}

impl Gguf {
    /// The tiny model.
    pub(crate) fn tiny() -> Self {
        let tensor = |weight: Weight| Tensor {
            name: format!("{}.weight", weight.gguf_name),
            dims: weight.shape.iter().rev().map(|&n| n as u64).collect(),
            dtype: 0,
            offset: None,
            values: weight.values,
        };
        let meta = metadata().map(|(key, value)| (key.to_owned(), value)).into();
        Self { magic: *b"GGUF", version: 3, meta, tensors: tiny::weights().into_iter().map(tensor).collect() }
    }

    /// The same with another value for a key.
    pub(crate) fn with(mut self, key: &str, value: Value) -> Self {
        self.meta.retain(|(name, _)| name != key);
        self.meta.push((key.to_owned(), value));
        self
    }

    /// The same without a key.
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.meta.retain(|(name, _)| name != key);
        self
    }

    /// The same with a tensor changed.
    pub(crate) fn with_tensor(mut self, name: &str, change: impl FnOnce(&mut Tensor)) -> Self {
        change(self.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap());
        self
    }

    /// The file's bytes.
    pub(crate) fn write(&self) -> Written {
        let mut out = Written { bytes: Vec::new(), boundaries: Vec::new() };
        out.field(&self.magic);
        out.field(&self.version.to_le_bytes());
        out.field(&(self.tensors.len() as u64).to_le_bytes());
        out.field(&(self.meta.len() as u64).to_le_bytes());
        for (key, value) in &self.meta {
            out.field(&string(key));
            out.field(&value.kind().to_le_bytes());
            out.field(&value.bytes());
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            out.field(&string(&tensor.name));
            out.field(&(tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().for_each(|n| out.field(&n.to_le_bytes()));
            out.field(&tensor.dtype.to_le_bytes());
            out.field(&tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend(tensor.values.iter().flat_map(|x| x.to_le_bytes()));
            data.resize(data.len().next_multiple_of(32), 0);
        }
        out.bytes.resize(out.bytes.len().next_multiple_of(32), 0);
        out.bytes.extend(data);
        out
    }
}

impl Written {
    fn field(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.boundaries.push(self.bytes.len());
    }
}

fn metadata() -> [(&'static str, Value); 19] {
    let number = |n: usize| Value::U32(n as u32);
    let vocabulary = tiny::vocabulary();
    let is_control = |text: &String| tiny::CONTROLS.contains(&text.as_str());
    let types = vocabulary.iter().map(|text| if is_control(text) { 3 } else { 1 }).collect();
    [
        ("general.architecture", Value::text("llama")),
        ("llama.context_length", number(tiny::CONTEXT)),
        ("llama.embedding_length", number(tiny::WIDTH)),
        ("llama.block_count", number(1)),
        ("llama.feed_forward_length", number(tiny::MLP_WIDTH)),
        ("llama.attention.head_count", number(tiny::N_HEADS)),
        ("llama.attention.head_count_kv", number(tiny::N_KV_HEADS)),
        ("llama.attention.key_length", number(tiny::HEAD_DIM)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("llama.rope.freq_base", Value::F32(10_000.0)),
        ("tokenizer.ggml.model", Value::text("gpt2")),
        ("tokenizer.ggml.pre", Value::text("smollm")),
        ("tokenizer.ggml.tokens", Value::Texts(vocabulary)),
        ("tokenizer.ggml.token_type", Value::Ints(types)),
        ("tokenizer.ggml.merges", Value::Texts(tiny::MERGES.map(str::to_owned).into())),
        ("tokenizer.ggml.bos_token_id", number(tiny::id("<|bos|>"))),
        ("tokenizer.ggml.eos_token_id", number(tiny::id("<|end|>"))),
        ("tokenizer.ggml.add_bos_token", Value::Flag(false)),
        ("tokenizer.chat_template", Value::text(tiny::TEMPLATE)),
    ]
}
