"""What a block pays, and how long one has to wait for it: decisions on values."""

from __future__ import annotations

from dataclasses import dataclass

MOJO_PER_XCH = 10**12
BLOCKS_PER_DAY = 4608
SMALLEST_PAYMENT_MOJO = 1_000_000  # what Chia's own wallet takes for spam below: xch_spam_amount

# Heights at which the rewards halve: three years after another, and how often they have by then.
_HALVINGS = (5_045_760, 10_091_520, 15_137_280, 20_183_040)
_FARMER_MOJO, _POOL_MOJO = 250_000_000_000, 1_750_000_000_000

_HALF = 32  # hexadecimal digits


@dataclass(frozen=True)
class Network:
    """One of Chia's networks. Its genesis challenge decides what a reward is.

    A reward has no parent coin: its parent is made of one half of the challenge and of the height that was farmed.
    """

    genesis: str  # 64 hexadecimal digits

    def kind_of(self, parent: str, mojo: int, height: int) -> str:
        """Return what a coin is: `pool` or `farmer` (rewards), `claim` (as far as that shows) or `payment`.

        `parent`: the coin that it came from, 64 hexadecimal digits. The amount alone is not safe: a farmer's reward
        has fees in it. What a plotNFT pays out comes as an ordinary payment of exactly one pool reward.
        """
        if parent[:_HALF] == self.genesis[:_HALF]:
            return "pool"
        if parent[:_HALF] == self.genesis[_HALF:]:
            return "farmer"
        return "claim" if mojo == block_rewards(height)[1] else "payment"


MAINNET = Network("ccd5bb71183532bff220ba46c268991a3ff07eb358e8255a65c30a2dce0e5fbb")
REWARDS = ("pool", "farmer")  # kinds


def block_rewards(height: int) -> tuple[int, int]:
    """Return what the farmer and the pool get for a block at a height, in mojo, without fees."""
    halvings = sum(height >= at for at in _HALVINGS)
    return _FARMER_MOJO >> halvings, _POOL_MOJO >> halvings


def farmed_height(parent: str) -> int:
    """Return the height of the block that a reward, whose parent this is, is for."""
    return int(parent[_HALF:], 16)


def expected_days(farm_bytes: float, netspace_bytes: float) -> float | None:
    """Return in how many days this farm finds a block on average; None if that cannot be said."""
    if farm_bytes <= 0 or netspace_bytes <= 0:
        return None
    return netspace_bytes / farm_bytes / BLOCKS_PER_DAY
