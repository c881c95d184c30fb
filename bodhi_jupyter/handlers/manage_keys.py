"""``/bodhi/v1/keys``: scoped keys for terminals, which end with the server."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from pydantic import BaseModel, ConfigDict
from tornado import web

from ..access.key_store import KeyName
from ..wire.errors import NotAllowed
from ..wire.validation import parse_request
from .base import GatewayHandler


class KeyRequest(BaseModel):
    """What a new key is for."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: KeyName


class KeysHandler(GatewayHandler):
    """``POST /bodhi/v1/keys``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Mint a key that opens our routes until the server ends; a scoped key cannot mint another."""
        if self.holder is not None:
            raise NotAllowed("A scoped key cannot make keys: use the Jupyter server's token.")
        request = parse_request(KeyRequest, self.body)
        self.set_status(201)
        self.answer_json({"key": self.gateway.keys.mint(f"terminal:{request.name}"), "name": request.name})


default_handlers = [(r"/bodhi/v1/keys", KeysHandler)]
