"""How the embedded ClickHouse is served."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

LOOPBACK = "127.0.0.1"


class ClickHouseServerSettings(BaseModel):
    """One data folder and where it is served."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path = Field(description="data folder, for this server alone; made where it is missing")
    host: str = Field(default=LOOPBACK, description="address to listen on; other than loopback only with a password")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(default=8123, description="0 lets the system choose")
    user: str = Field(default="default", min_length=1, description="the one user's name")
    password: SecretStr = Field(default=SecretStr(""), description="the one user's password; empty: none is asked for")
    max_concurrent_queries: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=64, description="queries at a time; more are refused with code 202"
    )
    max_memory: Annotated[int, Field(ge=0)] = Field(
        default=0, description="bytes the engine may use; 0: 90 % of the machine's"
    )
    stop_within: Annotated[float, Field(gt=0)] = Field(
        default=10.0, description="seconds that running queries are given at the end before they are cancelled"
    )
    max_body: Annotated[int, Field(ge=1)] = Field(
        default=64 * 2**20, description="bytes of a body that has to be held as a whole: a statement without rows"
    )
    buffer_size: Annotated[int, Field(ge=1)] = Field(
        default=2**20,
        description="bytes of a result gathered before the answer's head is sent; up to there a failure has its status",
    )
    hold_in_memory: Annotated[int, Field(ge=1)] = Field(
        default=64 * 2**20,
        description="bytes of a result asked for with wait_end_of_query held in memory; the rest in a file",
    )

    @model_validator(mode="after")
    def _open_only_with_password(self) -> Self:
        if not self.is_loopback and not self.password.get_secret_value():
            raise ValueError(
                f"host {self.host} can be reached from other machines, and no password is set. "
                f"Set TODOKE_CLICKHOUSE__PASSWORD, or listen on {LOOPBACK}."
            )
        return self

    @property
    def is_loopback(self) -> bool:
        """Only programs on this machine can connect."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
