"""The list of calls as plain SQLAlchemy would serve it: mapped objects, a joined lead, `json.dumps`."""

import json
import os
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from sqlalchemy import ForeignKey, create_engine, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Lead(Base):
    __tablename__ = "leads"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    phone: Mapped[str]


class Call(Base):
    __tablename__ = "calls"
    id: Mapped[int] = mapped_column(primary_key=True)
    lead_id: Mapped[int] = mapped_column(ForeignKey("leads.id"))
    twilio_call_sid: Mapped[str | None]
    recording_url: Mapped[str | None]
    transcript: Mapped[str | None]
    summary: Mapped[str | None]
    duration: Mapped[float | None]
    language: Mapped[str | None]
    outcome: Mapped[str | None]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    lead: Mapped[Lead] = relationship()


engine = create_engine(
    make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg"), pool_size=16
)
COPIED = (
    "id",
    "lead_id",
    "twilio_call_sid",
    "recording_url",
    "transcript",
    "summary",
    "duration",
    "language",
)


def as_dict(call: Call) -> dict[str, Any]:
    return {
        **{name: getattr(call, name) for name in COPIED},
        "lead_name": call.lead.name,
        "phone": call.lead.phone,
        "outcome": call.outcome or "unknown",
        "started_at": call.started_at.isoformat(),
        "ended_at": call.ended_at.isoformat() if call.ended_at else None,
    }


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    asked = parse_qs(environ["QUERY_STRING"])
    size, page = int(asked.get("page_size", ["50"])[0]), int(asked.get("page", ["1"])[0])
    with Session(engine) as session:
        total = session.scalar(select(func.count()).select_from(Call))
        newest = select(Call).options(joinedload(Call.lead)).order_by(Call.started_at.desc(), Call.id.desc())
        calls = session.scalars(newest.limit(size).offset((page - 1) * size)).all()
        body = json.dumps({"count": total, "results": [as_dict(call) for call in calls]}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
