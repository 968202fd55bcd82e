"""What the rater's page sends to `webapp.listening_api`: types are strict, and nothing else may stand beside them."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from webapp.listening import ENGLISH


class Body(BaseModel):
    """What every body keeps to."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


# A token that is no text is of nobody's trial, like any that is made up.
Token = Annotated[str, BeforeValidator(lambda token: token if isinstance(token, str) else "")]
Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]  # NUL ends a text in some programs that read an export
Stretch = Annotated[list[float], Field(min_length=2, max_length=2)]


class Code(Body):
    """An access code."""

    code: Text


class Join(Body):
    """A study's link."""

    key: Text
    carried: Annotated[dict[str, Text], Field(max_length=50)] = {}  # what stands in the link besides


class About(Body):
    """The consent, and what a rater says about themselves."""

    answers: dict[str, Text]
    language: str = ENGLISH  # in which the page showed the consent


class Headphones(Body):
    """How many answers of a headphone check were right."""

    correct: int


class Rating(Body):
    """An answer to a trial; the scores stand beside the rest under the keys of the study's scales."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, int]
    token: Token
    comment: Text
    played: list[Stretch]


class Problem(Body):
    """A clip that does not play."""

    token: Token
    comment: Text = ""
