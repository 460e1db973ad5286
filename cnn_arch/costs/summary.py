"""Sums over a network's layers."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from cnn_arch.costs.layers import LayerCost, layer_costs
from cnn_arch.models.build import build_model


def totals(rows: Sequence[LayerCost]) -> dict[str, int]:
    """Sums the rows by every common convention, without auxiliary heads.

    Returns:
      ``params`` and ``params_without_biases``; ``macs``, ``flops`` = 2 x MACs,
      ``padding_macs``; ``other_operations``, of which ``batch_norm_operations`` and
      ``transcendentals`` are parts; ``conv_output_elements`` and ``_bytes`` (EECS 498's
      memory); ``activation_elements`` and ``_bytes``: input, convolutions, pools and
      dense layers (CS231n's memory); ``xla_flops_exact``: by XLA's rules, not rounded;
      ``auxiliary_params`` and ``auxiliary_macs`` of the heads.
    """
    main = [row for row in rows if not row.auxiliary]

    def total(field: str, *kinds: str) -> int:
        return sum(
            getattr(row, field) for row in main if not kinds or row.kind in kinds
        )

    kept = "input", "conv", "local", "max_pool", "avg_pool", "global_avg_pool", "dense"
    return {
        "params": total("params"),
        "params_without_biases": total("params") - total("biases"),
        "macs": total("macs"),
        "flops": total("flops"),
        "padding_macs": total("padding_macs"),
        "other_operations": total("other_operations"),
        "batch_norm_operations": total("other_operations", "batch_norm"),
        "transcendentals": total("transcendentals"),
        "conv_output_elements": total("output_elements", "conv"),
        "conv_output_bytes": total("output_bytes", "conv"),
        "activation_elements": total("output_elements", *kept),
        "activation_bytes": total("output_bytes", *kept),
        "xla_flops_exact": total("xla_flops"),
        "auxiliary_params": sum(row.params for row in rows if row.auxiliary),
        "auxiliary_macs": sum(row.macs for row in rows if row.auxiliary),
    }


def depth(rows: Sequence[LayerCost]) -> int:
    """Counts the layers with weights on the longest path to the logits."""
    reached: dict[str, int] = {}
    rows = [row for row in rows if not row.auxiliary]
    for row in rows:
        before = max((reached[name] for name in row.inputs), default=0)
        reached[row.name] = before + (row.kind in ("conv", "local", "dense"))
    return reached[rows[-1].name]


def describe_network(config: ConfigDict, num_classes: int) -> str:
    """Describes the parameters and multiply-adds of a config's network in one line."""
    model = build_model(config, num_classes, loops=False)
    rows = layer_costs(model, config.data.image_size, config.data.channels)
    total = totals(rows)
    num, in_aux = total["params"], total["auxiliary_params"]
    heads = f", {in_aux:,} more in auxiliary heads" if in_aux else ""
    return (
        f"{config.model.name}: {num:,} parameters ({4 * num / 2**20:.2f} MiB){heads}, "
        f"{total['macs'] / 1e6:,.2f} MMAC an image"
    )
