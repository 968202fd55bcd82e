"""A study's desk without a page, for tests."""

from dataclasses import dataclass, field
from pathlib import Path

from annotation.database import Database
from tests.annotation.rooms import Room
from webapp.study_desk import StudyDesk
from webapp.study_export import Exports
from webapp.venues import Venue


@dataclass
class Desk:
    """A desk over a room, and the studies that it was asked to train from."""

    desk: StudyDesk
    venue: Venue
    room: Room | None
    trained: list[str] = field(default_factory=list)


def make_desk(database: Database, data: Path, room: Room | None) -> Desk:
    venue = Venue(database, data)
    trained: list[str] = []

    def train(study: str) -> str:
        trained.append(study)
        return "It <has> begun."

    return Desk(StudyDesk(venue, Exports(venue), train), venue, room, trained)


def rated_desk(database: Database, data: Path) -> Desk:
    """Over a study of which two raters have rated a batch each."""
    room = Room.build(database, clips=4, raters=3, raters_per_clip=2)
    for number in range(2):
        room.rate_batch(number)
    return make_desk(database, data, room)
