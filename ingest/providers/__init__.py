"""The forms of posts, a module for each provider: pure functions from a body to events."""

from collections.abc import Mapping

from ingest.harvest import Provider
from ingest.providers.customers_mail_cloud import CustomersMailCloud
from ingest.providers.generic import Generic
from ingest.settings import ProviderName

PROVIDERS: Mapping[ProviderName, Provider] = {
    ProviderName.CUSTOMERS_MAIL_CLOUD: CustomersMailCloud(),
    ProviderName.GENERIC: Generic(),
}
"""Every provider by its name."""
