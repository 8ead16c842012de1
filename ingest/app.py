"""The HTTP application: its endpoints, and how every error is answered."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from importlib.metadata import version

from aiohttp import web
from prometheus_client import CollectorRegistry

from ingest import handlers, problems
from ingest.alarms import Alarm
from ingest.authentication import Gate
from ingest.handlers import DOORS, INTAKE, METRICS, SETTINGS, SOURCE, STRANGERS, Door
from ingest.intake import Intake
from ingest.metrics import IngestMetrics
from ingest.problems import PROBLEMS, RefusedError, UnexpectedError
from ingest.publisher import Publisher
from ingest.settings import IngestSettings, SourceSettings, check
from streams.contracts.clock import Clock, Deadline

logger = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds that stopping may take where nobody has stopped the intake before."""

CLOCK: web.AppKey[Clock] = web.AppKey("clock")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_app(
    *,
    settings: IngestSettings,
    sources: Mapping[str, SourceSettings],
    publisher: Publisher,
    clock: Clock,
    registry: CollectorRegistry,
) -> web.Application:
    """Make the application. Starting it starts the publisher, too. Its server must not decompress bodies by itself.

    Raises:
        ConfigurationError: the settings do not fit together.
    """
    check(settings, sources)
    app = web.Application(middlewares=[_answer_problems])
    app[CLOCK] = clock
    app[SETTINGS] = settings
    app[METRICS] = IngestMetrics(registry)
    app[STRANGERS] = Alarm(
        logger,
        "source %s: posts without a valid secret are refused, %d since the last warning: was a secret changed?",
        clock,
    )
    app[DOORS] = {name: Door(name=name, settings=source, gate=Gate(source)) for name, source in sources.items()}
    app[INTAKE] = Intake(
        settings=settings,
        durabilities={source.durability for source in sources.values()},
        publisher=publisher,
        clock=clock,
        metrics=app[METRICS],
        version=version("todoke"),
    )
    app.router.add_post("/v1/webhooks/{source}", handlers.webhook)
    app.router.add_post("/v1/events", handlers.events)
    app.router.add_get("/healthz", handlers.healthz)
    app.router.add_get("/readyz", handlers.readyz)
    app.router.add_get("/metrics", handlers.metrics)
    app.router.add_get("/openapi.json", handlers.openapi)
    app.cleanup_ctx.append(_intake)
    return app


async def _intake(app: web.Application) -> AsyncIterator[None]:
    await app[INTAKE].start()
    yield
    await app[INTAKE].stop(Deadline(PATIENCE, app[CLOCK]))


@web.middleware
async def _answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error from the one table, and count what was answered."""
    try:
        response = await handler(request)
    except RefusedError as error:
        response = _refuse(request, error)
    except web.HTTPException as error:
        response = problems.of_http(error)
    except ConnectionError:
        raise  # the sender went away; nobody is there to be answered
    except Exception:
        logger.exception("a request to %s met a mistake in todoke; its sender is asked to repeat it", request.path)
        response = _refuse(request, UnexpectedError("this is a mistake in todoke, see its log: try again later"))
    source = request.get(SOURCE)
    if source is not None:
        request.app[METRICS].posts.labels(source, str(response.status)).inc()
    return response


def _refuse(request: web.Request, error: RefusedError) -> web.Response:
    request.app[METRICS].refusals.labels(request.get(SOURCE, ""), PROBLEMS[type(error)].name).inc()
    return problems.answer(error, retry_after=request.app[SETTINGS].retry_after)
