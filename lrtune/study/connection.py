"""An open study: its storage, what it is a study of, and patience while the storage is away."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import RDBStorage

from lrtune.study.opening import DAMAGED, NoStudyError, StudyFileError, open_storage, open_study
from lrtune.study.patience import Patience
from lrtune.study.quiet import quiet
from lrtune.study.sqlite_lock import locked, unlock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from optuna.storages import BaseStorage

    from lrtune.study.place import StudyPlace

_SETUP = "lrtune"  # user attribute of a study: what it is a study of


class Connection:
    """A study, open until it is closed.

    Args:
        place: Where it is kept.
        create: Whether to make it; else it must be there.
        begun: Told once it is open: what else has to be read before it is known to be whole.

    Attributes:
        patiently: Calls what uses the storage; an outage that one use of it notices counts for all.

    Raises:
        StudyFileError: If the file of this process alone is no study.
        NoStudyError: If it is not there and is not to be made.
        StorageError: If the storage refuses us, or stays away.
    """

    def __init__(self, place: StudyPlace, create: bool, begun: Callable[[Connection], None]) -> None:
        self.place = place
        self.patiently = Patience(place)
        self._lock = locked(place)
        self._storage: BaseStorage | None = None
        try:
            with quiet():
                self._open(create, begun)
        except BaseException:
            self.close()
            raise

    def _open(self, create: bool, begun: Callable[[Connection], None]) -> None:
        try:
            self._storage = storage = self.patiently(partial(open_storage, self.place))
            self.study = self.patiently(partial(self._opened, storage, create))
            begun(self)
        except Exception as error:
            # A damage may show itself at any reading; the file belongs to this process alone.
            if self.place.storage is not None or self.place.path is None or DAMAGED[1] not in str(error):
                raise
            raise StudyFileError(str(error).splitlines()[0]) from error

    def _opened(self, storage: BaseStorage, create: bool) -> optuna.Study:
        try:
            return open_study(storage, self.place.name)
        except NoStudyError:
            if not create:
                raise
        return optuna.create_study(
            study_name=self.place.name, storage=storage, load_if_exists=True, direction="minimize"
        )

    @property
    def storage(self) -> BaseStorage:
        """Optuna's storage of the study."""
        assert self._storage is not None, "the study is closed"
        return self._storage

    def close(self) -> None:
        """Let go of the storage."""
        if isinstance(self._storage, RDBStorage):
            self._storage.remove_session()
            self._storage.engine.dispose()
        self._storage = None
        if self._lock is not None:
            unlock(self._lock)
            self._lock = None

    @property
    def setup(self) -> dict[str, Any] | None:
        """What the study is of, as plain values; None before anyone has said."""
        return self.patiently(lambda: self.study.user_attrs.get(_SETUP))

    def set_up(self, setup: Mapping[str, Any]) -> None:
        """Say what the study is of."""
        self.patiently(lambda: self.study.set_user_attr(_SETUP, dict(setup)))
