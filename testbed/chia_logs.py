"""Lines as Chia's log has them, for coins that nobody owns."""

from __future__ import annotations

from plotfarm.chia.coins import coin_id

PUZZLE = "11" * 32
POOL, FARMER, STRANGER = "ccd5bb71183532bff220ba46c268991a", "3ff07eb358e8255a65c30a2dce0e5fbb", "77" * 16


def parent_of(kind: str, height: int) -> str:
    """Return the parent of a reward for a height (kind: POOL or FARMER), or of a payment (STRANGER)."""
    return f"{kind}{height:032x}"


def prefix(time: str, version: str = "", logger: str = "wallet chia.wallet.wallet_node    ") -> str:
    """Return how a line begins; `version` stands in it from 2.4.4 on."""
    return f"{time} {version + ' ' if version else ''}{logger}: INFO     "


def state(
    time: str, parent: str, mojo: int, created: int | None = 5_200_002, spent: int | None = None, version: str = "2.7.3"
) -> str:
    """Return the line about a coin's state since version 1.6.1."""
    heights = {name: "None" if height is None else f"Some({height})"
               for name, height in (("spent_height", spent), ("created_height", created))}  # fmt: skip
    return (
        f"{prefix(time, version)}request coin: {coin_id(parent, PUZZLE, mojo)}CoinState {{ coin: Coin {{ "
        f"parent_coin_info: {parent}, puzzle_hash: {PUZZLE}, amount: {mojo} }}, "
        f"spent_height: {heights['spent_height']}, created_height: {heights['created_height']} }}\n"
    )


def debug_state(
    time: str, parent: str, mojo: int, created: int | None = 5_200_002, spent: int | None = None, version: str = "2.7.5"
) -> str:
    """Return the line about a coin's state since version 2.7.4, at level DEBUG."""
    line = state(time, parent, mojo, created, spent, version)
    identity = coin_id(parent, PUZZLE, mojo)
    line = line.replace(
        "wallet chia.wallet.wallet_node    : INFO     ", "wallet chia.wallet.wallet_state_manager: DEBUG    "
    )
    return line.replace(f"request coin: {identity}", f"Add coin state: {identity}: ")


def debug_added(time: str, parent: str, mojo: int, height: int = 5_200_002, wallet: int = 1) -> str:
    """Return the line about a coin that is added since version 2.7.4, at level DEBUG."""
    return (
        f"{time} 2.7.5 wallet chia.wallet.wallet_state_manager: DEBUG    Adding record to state manager coin: Coin {{ "
        f"parent_coin_info: {parent}, puzzle_hash: {PUZZLE}, amount: {mojo} }} at {height} wallet_id: {wallet} "
        "and type: 0\n"
    )


def old_state(time: str, parent: str, mojo: int, created: int | None = 100_002, spent: int | None = None) -> str:
    """Return the lines about a coin's state of version 1.4 to 1.6.0."""
    return (
        f"{prefix(time)}request coin: {coin_id(parent, PUZZLE, mojo)}{{'coin': {{'amount': {mojo},\n"
        f"          'parent_coin_info': '0x{parent}',\n          'puzzle_hash': '0x{PUZZLE}'}},\n"
        f" 'created_height': {created},\n 'spent_height': {spent}}}\n"
    )


def added(time: str, parent: str, mojo: int, height: int = 100_002, more: str = "") -> str:
    """Return the lines about a coin that is added: version 1.0 to 1.5. `more`: " wallet_id:1" and such."""
    what = "Adding record to state manager coin" if "type" in more else "Adding coin"
    return (
        f"{prefix(time, logger='wallet chia.wallet.wallet_state_manager')}{what}: {{'amount': {mojo},\n"
        f" 'parent_coin_info': '0x{parent}',\n 'puzzle_hash': '0x{PUZZLE}'}} at {height}{more}\n"
    )


def noise(time: str, number: int = 0) -> str:
    """Return a line that a harvester writes all the time."""
    return (
        f"{prefix(time, '2.7.3', 'harvester chia.harvester.harvester')}challenge_hash: {number:010x} ...1 plots were "
        "eligible for farming challengeFound 0 V1 proofs and 0 V2 qualities. Time: 0.14301 s. Total 365 plots\n"
    )
