"""Activations, normalisation, lookup and the other functions of nn.functional; losses have tests of their own."""

from __future__ import annotations

from table.rows import Named, constant, flags, index, real, row

X = real(3, 4)
NAMED = "F.celu F.elu F.hardsigmoid F.hardswish F.hardtanh F.leaky_relu F.mish F.relu F.relu6 F.selu F.silu"

row(f"""
    {NAMED} celu hardshrink selu F.gelu F.hardshrink F.logsigmoid F.sigmoid F.softplus F.softshrink F.softsign F.tanh
    F.tanhshrink
""", X)  # fmt: skip
row(NAMED, X, inplace=True)
row("F.celu_ F.elu_ F.hardtanh_ F.leaky_relu_ F.relu_ F.selu_ relu_ celu_ selu_", X)
row("F.gelu", X, approximate="tanh")
row("F.celu F.elu", X, 0.7)
row("F.hardtanh", X, -0.5, 0.6)
row("F.leaky_relu", X, 0.2)
row("F.hardshrink F.softshrink", X, 0.7)
row("F.softplus", X, 2.0, 1.0)
row("F.threshold F.threshold_ threshold threshold_", X, 0.3, -1.0)
row("F.rrelu rrelu F.rrelu_ rrelu_", X, 0.1, 0.3, False)
row("F.prelu prelu", X, real(4))
row("F.prelu prelu", X, real(1))
row("F.glu", X)
row("F.glu", real(4, 3), 0)
row("F.softmax F.log_softmax F.softmin Tensor.softmax Tensor.log_softmax special.softmax special.log_softmax", X, 1)
row("F.softmax F.log_softmax F.softmin", X, dim=0)
row("F.softmax F.log_softmax", X, dim=-1, dtype=Named("float64"))
row("F.dropout F.dropout2d F.dropout3d F.alpha_dropout F.feature_alpha_dropout", real(2, 3, 4, 5), 0.5, False)
row("F.dropout1d", real(2, 3, 4), 0.5, False)

row("F.layer_norm", X, (4,), real(4), real(4))
row("F.layer_norm", real(2, 3, 4), (3, 4))
row("F.rms_norm", X, (4,), real(4))
row("F.rms_norm", X, (4,), eps=0.1)
row("F.group_norm", real(2, 4, 3), 2, real(4), real(4))
row("F.instance_norm", real(2, 3, 4), weight=real(3), bias=real(3))
row("F.batch_norm", real(3, 4), constant(-1.0, 1.0, 4), constant(0.5, 2.0, 4), real(4), real(4))
row("F.batch_norm", real(2, 3, 4), None, None, real(3), real(3), True)
row("F.local_response_norm", real(2, 4, 3), 2, 0.1)
row("F.normalize", X)
row("F.normalize", X, 1.0, 0)

row("F.linear", X, real(5, 4), real(5))
row("F.linear", real(2, 3, 4), real(5, 4))
Q, K, V = real(2, 3, 4), real(2, 5, 4), real(2, 5, 3)
row("F.scaled_dot_product_attention", Q, K, V)
row("F.scaled_dot_product_attention", Q, K, V, is_causal=True)
row("F.scaled_dot_product_attention", Q, K, V, flags(3, 5))
row("F.scaled_dot_product_attention", Q, K, V, attn_mask=constant(-1.0, 1.0, 3, 5), scale=0.3)
row("F.scaled_dot_product_attention", real(1, 4, 3, 4), real(1, 2, 5, 4), real(1, 2, 5, 4), enable_gqa=True)
row("F.bilinear bilinear", X, real(3, 2), real(5, 4, 2), real(5))
row("F.embedding", index(6, 2, 3), real(6, 4))
row("F.embedding", index(6, 2, 3), real(6, 4), padding_idx=2)
row("F.embedding_bag", index(6, 2, 3), real(6, 4), mode="sum")
row("F.embedding_bag", index(6, 2, 3), real(6, 4), mode="mean")
row("F.one_hot", index(5, 2, 3))
row("F.one_hot", index(5, 2, 3), 7)

row("F.pad", real(2, 3, 4), (1, 2))
row("F.pad", real(2, 3, 4), (1, -1, 0, 2), value=0.5)
for mode in ("reflect", "replicate", "circular"):
    row("F.pad", real(2, 3, 4), (1, 2), mode=mode)
row("F.pixel_shuffle pixel_shuffle", real(1, 8, 3, 2), 2)
row("F.pixel_unshuffle pixel_unshuffle", real(1, 2, 4, 6), 2)
row("F.channel_shuffle channel_shuffle", real(1, 4, 2, 2), 2)
row("F.unfold", real(1, 2, 4, 5), (2, 3))
row("F.unfold", real(1, 2, 4, 5), 2, dilation=2, padding=1, stride=2)
row("F.fold", real(1, 8, 12), (4, 5), (2, 2))
row("F.cosine_similarity cosine_similarity", X, real(3, 4))
row("F.cosine_similarity", X, real(4), dim=-1)
row("F.pdist pdist", real(4, 3))
row("F.pairwise_distance", X, real(3, 4))
row("cdist", X, real(5, 4))
row("cdist", X, real(5, 4), 1.0)
row("cdist", real(2, 3, 4), real(2, 5, 4), 3.0)
row("masked_fill", X, flags(3, 4), 0.5)
row("masked_fill", X, flags(4), -1)
