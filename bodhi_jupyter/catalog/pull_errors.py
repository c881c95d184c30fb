"""What can go wrong with a pull, in words that name no address of the hub.

GatewayError
├── RequestError
│   ├── InvalidPullName     400  the name says no repository (`pull_names`)
│   ├── FileDoesNotExist    404  no such repository, or no such model in it (`pull_names`)
│   ├── PullNotFound        404  none under way has this id (`pull`)
│   └── PullCancelled       499  stopped by somebody
├── NotAllowed
│   └── AccessRefused       403  gated or private, or the token is not valid
├── BackendUnavailable
│   └── HubUnreachable      503  no hub, or a silent one
│       └── HubRefused      503  it will not change its mind, or downloads are forbidden
├── BackendFailed
│   └── DigestMismatch      502  what came is not what the hub has; it was deleted
└── NotEnoughSpace          507  RFC 4918's status: nothing was begun
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..wire.errors import BackendFailed, BackendUnavailable, GatewayError, NotAllowed, RequestError
from .pull_names import FileDoesNotExist

_log = logging.getLogger(__name__)

#: What those who follow a cancelled pull are told.
CANCELLED = "pull canceled"

#: As `huggingface_hub` reads a switch.
_TRUE = frozenset({"1", "ON", "YES", "TRUE"})


class PullCancelled(RequestError):
    """Somebody stopped the pull."""

    status = 499
    default_code = "pull_cancelled"


class AccessRefused(NotAllowed):
    """The hub does not let this token, or nobody, have the files."""

    default_code = "pull_refused"


class HubUnreachable(BackendUnavailable):
    """The hub does not answer, not now, or not as it should."""

    default_code = "hub_unreachable"

    @classmethod
    def because(cls, reason: str) -> HubUnreachable:
        """The error, with its reason."""
        return cls(f"pull model manifest: the Hugging Face hub cannot be used: {reason}")


class HubRefused(HubUnreachable):
    """The hub answers, or must not be asked; so it will the next time."""

    retryable = False


class DigestMismatch(BackendFailed):
    """What came is not what the hub has; the text is Ollama's."""

    default_code = "digest_mismatch"


class NotEnoughSpace(GatewayError):
    """The disk of the Hugging Face cache is too full."""

    status = 507
    default_code = "disk_full"

    @classmethod
    def measured(cls, needed: int, free: int, promised: int = 0) -> NotEnoughSpace:
        """The error, with all sizes in bytes: `promised` is what other pulls are going to take."""
        beside = f" beside the {_gigabytes(promised)} of other pulls" if promised else ""
        return cls(
            f"not enough disk space: {_gigabytes(needed)} are to be downloaded{beside} and some is to stay free, "
            f"but only {_gigabytes(free)} are free where the Hugging Face cache is"
        )


def is_offline(environ: Mapping[str, str]) -> bool:
    """Whether the environment forbids to ask the hub (huggingface_hub documentation, "Environment variables")."""
    return (environ.get("HF_HUB_OFFLINE") or environ.get("TRANSFORMERS_OFFLINE") or "").upper() in _TRUE


@contextmanager
def hub_errors(repo: str) -> Iterator[None]:
    """Whatever `huggingface_hub` raises inside, as one of our errors.

    Raises:
        FileDoesNotExist, AccessRefused, HubUnreachable: what the hub said, or that it said nothing of use.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        raise AccessRefused(
            f"pull model manifest: {repo} is gated: its owner has to grant access on the hub, and HF_TOKEN has to be "
            "that account's token"
        ) from None
    except errors.RepositoryNotFoundError:
        raise FileDoesNotExist.because(
            f"the hub has no {repo}, or it is private and HF_TOKEN is not a token for it"
        ) from None
    except errors.LocalEntryNotFoundError:  # what a silent hub looks like to `hf_hub_download`
        raise HubUnreachable.because("it does not answer") from None
    except (errors.EntryNotFoundError, errors.RevisionNotFoundError):
        raise FileDoesNotExist.because(f"{repo} has changed meanwhile; try again") from None
    except errors.OfflineModeIsEnabled:
        raise HubRefused.because("the environment forbids downloads (HF_HUB_OFFLINE)") from None
    except errors.HFValidationError:
        raise FileDoesNotExist.because(f"{repo!r} cannot be a repository's name") from None
    except errors.HfHubHTTPError as error:
        raise _refusal(error.response.status_code, repo) from None
    except errors.HTTPError:  # of the HTTP library that this version is built on
        raise HubUnreachable.because("it does not answer") from None
    except (AttributeError, KeyError, TypeError, ValueError):  # it takes answers apart without a look at what they are
        _log.debug("The hub's answer about %r is none", repo, exc_info=True)
        raise HubUnreachable.because("its answer cannot be understood") from None


def _refusal(status: int, repo: str) -> GatewayError:
    if status in {401, 403}:
        return AccessRefused(f"pull model manifest: the hub does not give {repo} to this token (HF_TOKEN)")
    passing = status == 429 or status >= 500
    return (HubUnreachable if passing else HubRefused).because(f"it answered with status {status}")


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
