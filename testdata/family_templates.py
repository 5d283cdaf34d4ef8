"""Words and chat templates of the families: special tokens and a short template in each family's own manner."""

import tiny_models
from tiny_models import Words

MESSAGES = "{% for message in messages %}"

CHATML = Words(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "<|endoftext|>", "<|im_end|>", tiny_models.CHATML)

LLAMA_2 = Words(["<unk>", "<s>", "</s>"], "<s>", "</s>", tiny_models.LLAMA_2)

QWEN_2 = Words(
    ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "<|endoftext|>",
    "<|im_end|>",
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}"
    "{% endif %}" + MESSAGES + "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
)

QWEN_3 = Words(
    ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"],
    "<|endoftext|>",
    "<|im_end|>",
    MESSAGES + "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{% endif %}",
)

SMOLLM_3 = Words(
    ["<|end_of_text|>", "<|im_start|>", "<|im_end|>"],
    "<|end_of_text|>",
    "<|im_end|>",
    "{{ '<|im_start|>system\n## Metadata\n\n' }}"
    "{{ 'Reasoning Mode: ' + ('/think' if enable_thinking else '/no_think') + '<|im_end|>\n' }}"
    + MESSAGES
    + "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
)

LLAMA_3 = Words(
    ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "<|begin_of_text|>",
    "<|eot_id|>",
    "{{ bos_token }}" + MESSAGES + "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{{ message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
)

VICUNA = Words(
    ["<unk>", "<s>", "</s>"],
    "<s>",
    "</s>",
    "{{ bos_token }}" + MESSAGES + "{% if message['role'] == 'user' %}{{ 'USER: ' + message['content'] + ' ' }}"
    "{% else %}{{ 'ASSISTANT: ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",
)

ZEPHYR = Words(
    ["<unk>", "<s>", "</s>"],
    "<s>",
    "</s>",
    MESSAGES + "{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
)

GLM = Words(
    ["<|endoftext|>", "[gMASK]", "<sop>", "<|user|>", "<|assistant|>"],
    "<|endoftext|>",
    "<|user|>",
    "[gMASK]<sop>" + MESSAGES + "{{ '<|' + message['role'] + '|>\n' + message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
)

PHI_3 = Words(
    ["<unk>", "<s>", "</s>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"],
    "<s>",
    "<|end|>",
    MESSAGES + "{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
)

PHI_4 = Words(
    ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"],
    "<|endoftext|>",
    "<|end|>",
    MESSAGES + "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}",
)

GEMMA = Words(
    ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"],
    "<bos>",
    "<end_of_turn>",
    "{{ bos_token }}" + MESSAGES + "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
)
