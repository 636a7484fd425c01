"""The table of targets. A new one is a module of its own and a row here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.hostile.checkpoint_targets import CHECKPOINT_TARGETS
from tests.hostile.folder_targets import FOLDER_TARGETS
from tests.hostile.list_targets import LIST_TARGETS
from tests.hostile.media_targets import MEDIA_TARGETS
from tests.hostile.options_targets import OPTIONS_TARGETS

if TYPE_CHECKING:
    from tests.hostile.attempt import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        *OPTIONS_TARGETS,
        *CHECKPOINT_TARGETS,
        *FOLDER_TARGETS,
        *LIST_TARGETS,
        *MEDIA_TARGETS,
    )
}
