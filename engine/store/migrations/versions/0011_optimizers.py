"""Optimizers have keys of their own, so that old runs are filtered and compared with new ones.

Stored configs of AdamW lose the momentum that it never used, and all get the factors on the learning rate.
Variants name the network, optimizer and schedule from now on; two of equal keys had one word before.
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

from engine.store.variant import variant_of

revision = "0011"
down_revision = "0010"


FACTORS = {"encoder_lr_factor": 1.0, "head_lr_factor": 1.0, "layer_decay": 1.0}


def upgrade() -> None:
    connection = op.get_bind()
    for run_id, stored in connection.execute(sa.text("SELECT id, config FROM runs")).all():
        config = stored if isinstance(stored, dict) else json.loads(stored)
        optimizer = config.get("optimizer")
        if isinstance(optimizer, dict) and optimizer.get("name") in ("sgd", "adamw"):
            if optimizer["name"] == "adamw":
                optimizer.pop("momentum", None)
            config["optimizer"] = {**FACTORS, **optimizer}
        connection.execute(
            sa.text("UPDATE runs SET config = :config, variant = :variant WHERE id = :id"),
            {"id": run_id, "config": json.dumps(config), "variant": variant_of(config)},
        )
