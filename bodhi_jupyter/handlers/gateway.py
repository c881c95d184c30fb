"""What the handlers work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..access.admission import AdmissionQueue
from ..access.keys import KeyRing
from ..access.limits import Limits
from ..backends.base import Backend
from ..backends.images import ImageFetcher
from ..backends.pool import LocalPool
from ..backends.transport import Upstream
from ..catalog.alias import Alias
from ..catalog.alias_reader import StoredAlias
from ..catalog.broken import Absence, BrokenFile
from ..catalog.catalog import Catalog
from ..catalog.details import Details
from ..catalog.model_files import ModelFiles
from ..catalog.pull import Pulls
from ..catalog.store import AliasStore
from ..telemetry.ledger import Ledger
from ..telemetry.recent import RecentErrors
from ..wire.record import Recorder, RequestRecord
from .collector import PatientCollector
from .notebooks import Notebooks
from .route_names import RouteNames
from .token_user import TokenUsers

#: Where the application's settings hold the `Gateway`.
GATEWAY = "bodhi_gateway"


@dataclass
class Gateway:
    """What the handlers work with, given to them by the extension through the application's settings.

    Attributes:
        max_body_bytes: a request body above this is refused with 413.
        broken_files: the alias and model files that cannot be used, as they were last seen.
        absence_of: what an alias lacks to be used, looked for on the disk now.
        model_named: what an alias stands for, in the fields of an alias file; looks on the disk.
        limits: how much each person and model may be asked for; None where nothing is limited.
        owner: the person that the server's own keys count for.
        recorder: takes each request's record once it is over.
        routes: names for counting.
        notebooks: tells which notebook a kernel runs for.
        ledger: None where it is switched off.
        token_users: who the Jupyter token stands for.
        in_flight: requests being answered now, by request id.
        content_security_policy: of every answer, once it is known.
        known_hosts: values of the ``Host`` header to which Jupyter answers.
    """

    catalog: Catalog
    aliases: AliasStore
    details: Details
    backends: dict[str, Backend]
    pool: LocalPool
    pulls: Pulls
    model_files: ModelFiles
    upstream: Upstream
    keys: KeyRing
    admission: AdmissionQueue
    collector: PatientCollector
    images: ImageFetcher
    max_body_bytes: int
    broken_files: Callable[[], list[BrokenFile]]
    absence_of: Callable[[StoredAlias], Absence | None]
    model_named: Callable[[Alias], dict[str, str]]
    limits: Limits | None
    owner: str
    recorder: Recorder
    routes: RouteNames
    notebooks: Notebooks
    ledger: Ledger | None
    recent_errors: RecentErrors
    token_users: TokenUsers = field(default_factory=TokenUsers)
    in_flight: dict[str, RequestRecord] = field(default_factory=dict)
    content_security_policy: str | None = None
    known_hosts: set[str] = field(default_factory=set)
