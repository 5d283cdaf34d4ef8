//! A chat model of a few kilobytes: sizes, vocabulary, weights. What it says is noise.

/// Width of the residual stream.
pub(crate) const WIDTH: usize = 8;
pub(crate) const MLP_WIDTH: usize = 16;
pub(crate) const N_HEADS: usize = 2;
pub(crate) const N_KV_HEADS: usize = 1;
pub(crate) const HEAD_DIM: usize = WIDTH / N_HEADS;
pub(crate) const CONTEXT: usize = 512;

/// Control tokens, the last of the vocabulary.
pub(crate) const CONTROLS: [&str; 3] = ["<|bos|>", "<|start|>", "<|end|>"];
/// Merges of the tokenizer.
pub(crate) const MERGES: [&str; 2] = ["h e", "l l"];

/// A template with those control tokens.
pub(crate) const TEMPLATE: &str = "{{ bos_token }}{% for m in messages %}{{ '<|start|>' + m.role + '\\n' + \
    m.content + '<|end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant\\n' }}{% endif %}";

/// The vocabulary: bytes as GPT-2 writes them, what the merges make, control tokens.
pub(crate) fn vocabulary() -> Vec<String> {
    let mut next = 0x100..;
    let is_plain = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..);
    let symbol = |byte: u8| {
        if is_plain(byte) { char::from(byte) } else { char::from_u32(next.next().unwrap()).unwrap() }
    };
    let bytes: Vec<String> = (0..=255).map(symbol).map(String::from).collect();
    let merged = MERGES.map(|merge| merge.replace(' ', ""));
    bytes.into_iter().chain(merged).chain(CONTROLS.map(str::to_owned)).collect()
}

/// The id of a token.
pub(crate) fn id(token: &str) -> usize {
    vocabulary().iter().position(|text| text == token).unwrap()
}

/// A matrix or vector of the model.
#[derive(Debug, Clone)]
pub(crate) struct Weight {
    /// Name in a safetensors file.
    pub name: &'static str,
    /// Name in a GGUF file.
    pub gguf_name: &'static str,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// All weights; the head is the embedding.
pub(crate) fn weights() -> Vec<Weight> {
    let (attended, kv_width) = (N_HEADS * HEAD_DIM, N_KV_HEADS * HEAD_DIM);
    let shapes: [(&str, &str, &[usize]); 11] = [
        ("model.embed_tokens", "token_embd", &[vocabulary().len(), WIDTH]),
        ("model.layers.0.input_layernorm", "blk.0.attn_norm", &[WIDTH]),
        ("model.layers.0.self_attn.q_proj", "blk.0.attn_q", &[attended, WIDTH]),
        ("model.layers.0.self_attn.k_proj", "blk.0.attn_k", &[kv_width, WIDTH]),
        ("model.layers.0.self_attn.v_proj", "blk.0.attn_v", &[kv_width, WIDTH]),
        ("model.layers.0.self_attn.o_proj", "blk.0.attn_output", &[WIDTH, attended]),
        ("model.layers.0.post_attention_layernorm", "blk.0.ffn_norm", &[WIDTH]),
        ("model.layers.0.mlp.gate_proj", "blk.0.ffn_gate", &[MLP_WIDTH, WIDTH]),
        ("model.layers.0.mlp.up_proj", "blk.0.ffn_up", &[MLP_WIDTH, WIDTH]),
        ("model.layers.0.mlp.down_proj", "blk.0.ffn_down", &[WIDTH, MLP_WIDTH]),
        ("model.norm", "output_norm", &[WIDTH]),
    ];
    let mut noise = Noise::new(7);
    let weight = |(name, gguf_name, shape): (&'static str, &'static str, &[usize])| {
        let values = (0..shape.iter().product()).map(|_| noise.uniform() - 0.5).collect();
        Weight { name, gguf_name, shape: shape.to_vec(), values }
    };
    shapes.map(weight).into()
}

/// A generator of numbers that are the same in every run.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        // Knuth's MMIX constants; the high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    /// A number from 0 to 1.
    pub(crate) fn uniform(&mut self) -> f32 {
        self.below(1 << 20) as f32 / (1 << 20) as f32
    }
}
