"""``sync --refresh``: update flake inputs and channels, and undo updates that cannot be made ready.

An updated lock file or channel is useful only once everything that it leads to is kept. If a target
cannot be made ready with it, for whatever reason, it is restored, and all targets that use it are
made ready with the old one, so that no lock file is left that needs a network.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mirror.destinations.records.run_record import as_problems
from mirror.errors import DestinationError, EvaluationError, IncompleteError, PrefetchError
from mirror.nix.evaluation import refreshing
from mirror.planning.flake_lock import input_changes
from mirror.planning.lists.targets import FileInstallable, FlakeInstallable
from mirror.sync.kept.freshness import lock_file
from mirror.sync.refresh import lock_files
from mirror.sync.refresh.unsettled import held_note
from mirror.system.plain_files import is_file
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mirror.planning.lists.targets import Target
    from mirror.sync.records import Failures
    from mirror.sync.refresh.unsettled import Note
    from mirror.sync.report import Observer
    from mirror.sync.workshop import Workshop

_TOLD: Final = 5
"""How many of a target's reasons are told; the first is mostly that of all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """Something that was updated: a lock file or the channels, and how each input changed.

    ``put_back`` says that it was put back, or that this failed; None if it stays.
    """

    what: str
    changes: tuple[str, ...]
    put_back: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Update:
    """Something that was updated for good: which, for whom, and how it is put back."""

    what: str
    changes: tuple[str, ...]
    put_back: str
    targets: tuple[Target, ...]
    undo: Callable[[], Awaitable[None]]
    note: Note | None = None


class Refreshed:
    """What was refreshed for a run; ``failures`` are the targets whose inputs could not be."""

    def __init__(self, observer: Observer, notes: contextlib.ExitStack) -> None:
        self.failures: Failures = []
        self.done: dict[str, Refresh] = {}
        """What is another than before the run, or was for a while, by what it is."""
        self._observer = observer
        self._notes = notes
        self._updates: list[_Update] = []

    async def put_back(self, found: Mapping[str, Sequence[str]]) -> Mapping[str, IncompleteError]:
        """Put back what targets with problems use; ``found`` are those of each, by its name.

        Gives each target, by name, that uses any of it, with what is to be said of that.
        """
        withheld: dict[str, IncompleteError] = {}
        for update in list(self._updates):
            culprits = [each.name for each in update.targets if found[each.name]]
            if not culprits:
                continue
            self._updates.remove(update)
            said = await self._undo(update)
            for target in update.targets:
                reasons = as_problems(found[target.name])[:_TOLD]
                why = (
                    f"{target.name} is not refreshed: {', '.join(culprits)} could not be made "
                    f"ready, and {said}"
                )
                withheld[target.name] = IncompleteError(
                    "\n".join((why, *(f"  {each}" for each in reasons))),
                    hint="a later run with --refresh tries again",
                )
        return withheld

    async def settle(self) -> None:
        """Keep everything as it is now."""
        updates, self._updates = self._updates, []
        await in_thread(_remove_notes, updates)

    async def put_back_all(self) -> None:
        """Put back everything: the run itself has failed."""
        while self._updates:
            update = self._updates.pop()
            self._observer.notice(await self._undo(update))

    async def refresh(self, targets: Sequence[Target], workshop: Workshop) -> None:
        """Refresh what the targets are evaluated from."""
        files: dict[Path, tuple[str, list[Target]]] = {}
        elsewhere: dict[str, list[Target]] = {}
        impure = []
        for target in targets:
            installable = target.installable
            if isinstance(installable, FileInstallable):
                impure.append(target)
            elif isinstance(installable, FlakeInstallable):
                file = lock_file(target)
                if file is None:
                    elsewhere.setdefault(installable.flake, []).append(target)
                else:
                    files.setdefault(file, (installable.flake, []))[1].append(target)
        for file, (flake, users) in files.items():
            async with self._failing(users):
                await self._refresh_lock_file(file, flake, users, workshop)
        for flake, users in elsewhere.items():
            self._observer.step(f"fetching {flake} anew")
            async with self._failing(users):
                await refreshing.refetch_flake(workshop.nix, flake, store=workshop.store)
        if impure:
            async with self._failing(impure):
                await self._refresh_search_path(impure, workshop)

    async def _refresh_lock_file(
        self, file: Path, flake: str, users: Sequence[Target], workshop: Workshop
    ) -> None:
        if not is_file(file.parent / "flake.nix"):
            return  # evaluation says so
        if not await in_thread(lock_files.can_be_put_back, file):
            self._observer.notice(f"not refreshed: {file} cannot be written")
            return
        self._observer.step(f"refreshing {file}")
        with _explained(file):
            note = self._notes.enter_context(held_note(workshop.nix, file))
            before = await in_thread(lock_files.read, file)
            await in_thread(note.write, before)
            try:
                await refreshing.update_lock_file(workshop.nix, flake, store=workshop.store)
                after = await in_thread(lock_files.read, file)
                changes = tuple(map(str, input_changes(before, after)))
                await in_thread(note.write, before, after=after)
            except BaseException:
                # Nix may have written it and failed of what came next.
                try:
                    await in_thread(lock_files.put_back, file, before)
                    await in_thread(note.remove)
                except (PrefetchError, OSError) as error:
                    self._observer.notice(f"putting back {file} failed: {error}")
                raise
            if after == before:
                await in_thread(note.remove)
                return
        for change in changes:
            self._observer.notice(f"refreshed {file}: {change}")

        async def undo() -> None:
            if await in_thread(lock_files.read, file) != after:
                await in_thread(note.remove)
                raise EvaluationError(f"{file} was changed meanwhile, and is left as it is")
            await in_thread(lock_files.put_back, file, before)
            await in_thread(note.remove)

        self._add(
            _Update(
                what=str(file),
                changes=changes,
                put_back=f"{file} was put back",
                targets=tuple(users),
                undo=undo,
                note=note,
            )
        )

    async def _refresh_search_path(self, users: Sequence[Target], workshop: Workshop) -> None:
        nix = workshop.nix
        self._observer.step("fetching again what NIX_PATH names")
        await refreshing.refetch_search_path(nix, store=workshop.store)
        before = await refreshing.channel_places(nix)
        if not before:
            return
        self._observer.step("updating the channels")
        try:
            is_updated = await refreshing.update_channels(nix)
        except BaseException:
            # It may have come to its end all the same.
            if await refreshing.channel_places(nix) != before:
                await refreshing.roll_back_channels(nix)
            raise
        if not is_updated:
            named = ", ".join(before)
            self._observer.notice(f"not refreshed: {named} is a channel of another user")
            return
        after = await refreshing.channel_places(nix)
        if after == before:
            return
        moved = {name: place for name, place in after.items() if before.get(name) != place}
        changes = tuple(f"{name}: {before.get(name)} → {place}" for name, place in moved.items())
        for change in changes:
            self._observer.notice(f"refreshed {change}")

        async def undo() -> None:
            await refreshing.roll_back_channels(nix)

        self._add(
            _Update(
                what="the channels",
                changes=changes,
                put_back="the channels were put back",
                targets=tuple(users),
                undo=undo,
            )
        )

    def _add(self, update: _Update) -> None:
        self.done[update.what] = Refresh(what=update.what, changes=update.changes)
        self._updates.append(update)

    @contextlib.asynccontextmanager
    async def _failing(self, users: Sequence[Target]) -> AsyncIterator[None]:
        try:
            yield
        except EvaluationError as error:
            self.failures += [(target, error) for target in users]

    async def _undo(self, update: _Update) -> str:
        said = update.put_back
        try:
            await update.undo()
        except (PrefetchError, OSError) as error:
            said = f"putting back {update.what} failed: {error}"
        self.done[update.what] = replace(self.done[update.what], put_back=said)
        return said


@contextlib.asynccontextmanager
async def refreshed(
    targets: Sequence[Target], workshop: Workshop, observer: Observer
) -> AsyncIterator[Refreshed]:
    """Refresh what the targets are evaluated from, for the run within the context.

    Without targets there is nothing to refresh, and nothing to put back.
    A target whose inputs cannot be refreshed is among the ``failures``; it is evaluated all the
    same, from what there was. A run that is interrupted, or stopped by an error, leaves everything
    as it was before.

    Raises:
        ToolError: Nix cannot be used.

    """
    with contextlib.ExitStack() as notes:
        made = Refreshed(observer, notes)
        try:
            await made.refresh(targets, workshop)
            yield made
        except BaseException:
            await made.put_back_all()
            raise


def _remove_notes(updates: Sequence[_Update]) -> None:
    for update in updates:
        if update.note is not None:
            update.note.remove()


@contextlib.contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Turn what is wrong with a lock file into an error of its targets."""
    try:
        yield
    except DestinationError as error:  # of the note
        raise EvaluationError(
            f"{file} is not refreshed: {error.message}", hint=error.hint
        ) from error
    except OSError as error:
        raise EvaluationError(f"{file}: {error.strerror or error}") from error
    except ValueError as error:
        raise EvaluationError(f"{file}: {error}") from error
