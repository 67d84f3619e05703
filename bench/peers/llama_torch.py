"""The Llama form in plain PyTorch: the lean peer beside transformers' LlamaForCausalLM.

Same parameters under the same names as transformers (`model.layers.0.self_attn.q_proj.weight`, ...), tied embeddings, no
biases. Two things transformers does not do, so that the peer is as strong as eager PyTorch allows: RoPE tables are computed
once, and logits only at the positions that carry loss.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F


def rope_tables(length, head_dim, theta):
    """cos, sin of position * theta^(-2i/head_dim), each [length, head_dim], the two halves alike (Hugging Face's layout)."""
    inverse = 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angles = torch.outer(torch.arange(length, dtype=torch.float32), inverse)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), dim=-1) * sin


class Attention(nn.Module):
    def __init__(self, spec):
        super().__init__()
        d, self.heads, self.kv_heads = spec["d_model"], spec["n_heads"], spec["n_kv_heads"]
        self.head_dim = d // self.heads
        self.q_proj = nn.Linear(d, d, bias=False)
        self.k_proj = nn.Linear(d, self.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(d, self.kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(d, d, bias=False)

    def forward(self, x, cos, sin):
        batch, length, d = x.shape
        q = self.q_proj(x).view(batch, length, self.heads, self.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(batch, length, self.kv_heads, self.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(batch, length, self.kv_heads, self.head_dim).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        grouped = self.kv_heads != self.heads
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, d))


class SwiGLU(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.gate_proj = nn.Linear(spec["d_model"], spec["d_ff"], bias=False)
        self.up_proj = nn.Linear(spec["d_model"], spec["d_ff"], bias=False)
        self.down_proj = nn.Linear(spec["d_ff"], spec["d_model"], bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(spec["d_model"], eps=spec["norm_eps"])
        self.self_attn = Attention(spec)
        self.post_attention_layernorm = nn.RMSNorm(spec["d_model"], eps=spec["norm_eps"])
        self.mlp = SwiGLU(spec)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Trunk(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.embed_tokens = nn.Embedding(spec["vocab"], spec["d_model"])
        self.layers = nn.ModuleList(Block(spec) for _ in range(spec["n_layers"]))
        self.norm = nn.RMSNorm(spec["d_model"], eps=spec["norm_eps"])


class LeanLlama(nn.Module):
    """Mean NLL (nats) at the positions that carry loss; logits at those positions only."""

    def __init__(self, spec):
        super().__init__()
        self.model = Trunk(spec)
        cos, sin = rope_tables(spec["length"], spec["d_model"] // spec["n_heads"], spec["rope_theta"])
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, ids, positions, targets):
        """ids [batch, length]; positions [labels] into batch * length, each one before its target; targets [labels]."""
        x = self.model.embed_tokens(ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for block in self.model.layers:
            x = block(x, cos, sin)
        x = self.model.norm(x.reshape(-1, x.shape[-1]).index_select(0, positions))
        return F.cross_entropy(x @ self.model.embed_tokens.weight.t(), targets)
