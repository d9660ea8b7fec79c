"""People who work on the files while plots travel: rm, mv, cp, truncate, dd and touch, where nobody expects them."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

from tests.faults.scene import Scene, resume


class People:
    """They choose by chance; each deed tells whether there was anything to do it to."""

    def __init__(self, made: Scene, chance: random.Random) -> None:
        self._made = made
        self._chance = chance
        self._aside = made.farm.root / "a person's"  # what they take away lies here
        self._aside.mkdir(exist_ok=True)

    def _part(self) -> Path | None:
        parts = self._made.parts()
        return self._chance.choice(parts) if parts else None

    def remove_part(self) -> bool:
        part = self._part()
        if part is not None:
            part.unlink()
        return part is not None

    def move_part(self) -> bool:
        part = self._part()
        if part is not None:
            part.rename(self._aside / part.name)
        return part is not None

    def copy_part(self) -> bool:
        """Copy a part with all that it says of itself."""
        part = self._part()
        if part is not None:
            plot = part.name.rsplit(".", 2)[0]
            drive = self._chance.choice(self._made.drives)
            shutil.copy2(part, drive / f"{plot}.{self._chance.randbytes(8).hex()}.part")
        return part is not None

    def truncate_part(self) -> bool:
        """Cut a part while it arrives.

        Not when all of it is there: what is cut between the last look at it and its link is published short, which
        nobody can prevent, and its source stays then.
        """
        part = self._part()
        if part is None:
            return False
        writers = [one for role in ("disk worker", "mover") for one in self._made.roles().get(role, [])]
        for writer in writers:
            writer.suspend()
        try:
            plot = part.name.rsplit(".", 2)[0]
            size = part.stat().st_size
            is_arriving = size < 0.9 * self._made.manifest[plot][1] and part.stat().st_nlink == 1
            if is_arriving:
                os.truncate(part, self._chance.randrange(size + 1))
            return is_arriving
        finally:
            for writer in writers:
                resume(writer)

    def _sources(self) -> list[Path]:
        return [path for directory in self._made.scope.sources for path in directory.iterdir()]

    def _source(self) -> Path | None:
        sources = self._sources()
        return self._chance.choice(sources) if sources else None

    def touch_source(self) -> bool:
        source = self._source()
        if source is not None:
            when = time.time() - self._chance.uniform(10, 10**6)
            os.utime(source, (when, when))
        return source is not None

    def move_source_and_back(self) -> bool:
        source = self._source()
        if source is None:
            return False
        aside = source.with_suffix(".aside")
        source.rename(aside)
        time.sleep(self._chance.uniform(0, 0.2))
        aside.rename(source)
        return True

    def replace_source(self) -> bool:
        """Let another file with the same bytes have the name of a source."""
        source = self._source()
        if source is None:
            return False
        again = source.with_suffix(".again")
        shutil.copyfile(source, again)
        again.rename(source)
        return True

    def move_stored(self) -> bool:
        """Move a plot whose source is gone from one drive to another."""
        return self._move(besides={path.name for path in self._sources()})

    def move_any_stored(self) -> bool:
        """Move a plot from one drive to another, while nobody looks for it."""
        return self._move(besides=set())

    def _move(self, besides: set[str]) -> bool:
        stored = [path for drive in self._made.drives for path in drive.glob("*.plot") if path.stat().st_nlink == 1]
        stored = [path for path in stored if path.name not in besides]
        if not stored:
            return False
        plot = self._chance.choice(stored)
        others = [drive for drive in self._made.drives if drive != plot.parent and not (drive / plot.name).exists()]
        plot.rename(self._chance.choice(others) / plot.name)
        return True

    def overwrite_part(self) -> bool:
        part = self._part()
        if part is None or part.stat().st_size == 0 or part.stat().st_nlink > 1:
            return False
        with open(part, "r+b") as file:
            file.seek(self._chance.randrange(part.stat().st_size))
            file.write(b"x")
        return True

    def truncate_dead_part(self) -> bool:
        part = self._part()
        if part is None or part.stat().st_nlink > 1:
            return False
        os.truncate(part, self._chance.randrange(part.stat().st_size + 1))
        return True

    def lose_database(self) -> bool:
        side = self._chance.choice([self._made.farm.nas, self._made.sender])
        if not side.state.exists():
            return False
        shutil.rmtree(side.state)
        return True
