"""Who NovaSpark is: teams, use cases, models, capacity, prices and the experiment, as constants.

What also stands in the seed files (commitments, deployments, use cases) has the same values there; a test
compares the two. Nothing is generated here.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

SUPPORT_TEAM: Final = "customer_support"
SEARCH_TEAM: Final = "search_platform"
RESEARCH_TEAM: Final = "ml_research"
AGENTS_TEAM: Final = "automation_agents"

SUPPORT_CHAT: Final = "support_chat"
TICKET_SUMMARY: Final = "ticket_summary"
INTERNAL_SEARCH: Final = "internal_search"
DOCUMENT_ENRICHMENT: Final = "document_enrichment"
MODEL_EVALUATION: Final = "model_evaluation"
CONTRACT_REVIEW: Final = "contract_review_agent"
DOCUMENT_DRAFTING: Final = "document_drafting"

OPENAI: Final = "openai"
TOGETHER: Final = "together"
AZURE: Final = "azure"
SELF_HOSTED: Final = "self_hosted"
AEGIS: Final = "aegis"

CHAT_MODEL: Final = "gpt-4.1"
REASONING_MODEL: Final = "o4-mini"
REASONING_MODEL_SNAPSHOT: Final = "o4-mini-2025-04-16"
EMBEDDING_MODEL: Final = "text-embedding-3-small"
SEARCH_MODEL: Final = "Qwen/Qwen2.5-72B-Instruct-Turbo"
UNKNOWN_MODEL: Final = "novaspark/lexi-preview"
RESEARCH_MODEL: Final = "llama-3.3-70b-instruct"

# The name under which a model reports itself -> the name under which it is priced.
PRICED_MODELS: Final = {REASONING_MODEL_SNAPSHOT: REASONING_MODEL}

STANDARD: Final = "standard"
BATCH: Final = "batch"

CONTROL_VERSION: Final = "1"
TREATMENT_VERSION: Final = "2"
TRUE_SUCCESS_SHARES: Final = {CONTROL_VERSION: Decimal("0.62"), TREATMENT_VERSION: Decimal("0.70")}

EURO: Final = "EUR"
# First day -> USD for a euro.
USD_PER_EURO: Final = {date(2026, 1, 1): Decimal("1.08"), date(2026, 8, 1): Decimal("1.095")}

DISCOUNT_SHARE: Final = Decimal("0.12")
DISCOUNT_CONTRACT: Final = "novaspark-openai-2026"


@dataclass(frozen=True, slots=True)
class Commitment:
    """Capacity that is paid for by the hour, used or not."""

    commitment_id: str
    provider_name: str
    bought_units: int
    usd_per_unit_hour: Decimal
    line_name: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """A part of a commitment; capacity is counted in input-token equivalents."""

    deployment_id: str
    commitment_id: str
    allocated_units: int
    input_tokens_per_minute_per_unit: int
    output_token_weight: int
    spillover_deployment_id: str | None = None

    @property
    def capacity_tokens_per_hour(self) -> int:
        """Work that the deployment can do in one hour."""
        return self.allocated_units * self.input_tokens_per_minute_per_unit * 60


# Per month of 730 hours: 260.00 USD for a PTU, 156,800.00 USD for the four instances together.
PTU_POOL: Final = Commitment(
    "azure-ptu-pool-2026", AZURE, 500, Decimal("0.356164384"), "Provisioned throughput units, hourly"
)
GPU_POOL: Final = Commitment(
    "gpu-reserved-2026", SELF_HOSTED, 4, Decimal("53.698630137"), "Reserved GPU instances, hourly"
)
COMMITMENTS: Final = (PTU_POOL, GPU_POOL)

AGENTS_DEPLOYMENT: Final = Deployment("ptu-agents-gpt-41", PTU_POOL.commitment_id, 100, 3000, 4, "std-agents-gpt-41")
DRAFTING_DEPLOYMENT: Final = Deployment("ptu-drafting-gpt-41", PTU_POOL.commitment_id, 50, 3000, 4)
RESEARCH_DEPLOYMENT: Final = Deployment("gpu-llama-eval", GPU_POOL.commitment_id, 4, 60_000, 4)
DEPLOYMENTS: Final = (AGENTS_DEPLOYMENT, DRAFTING_DEPLOYMENT, RESEARCH_DEPLOYMENT)

DRAFTING_BEST_HOUR_SHARE: Final = Decimal("0.15")
AGENTS_BUSY_HOUR_SHARE: Final = 0.55
RESEARCH_MEAN_SHARE: Final = 0.40


@dataclass(frozen=True, slots=True)
class RateCardPrice:
    """A list price of the company's own rate card, in USD per million tokens, before and after the change."""

    provider_name: str
    model_pattern: str
    service_tier: str
    unit_kind: str
    before_usd_per_million: Decimal
    after_usd_per_million: Decimal


def _search_prices(service_tier: str, multiplier: Decimal) -> list[RateCardPrice]:
    prices = (("input", "1.20", "0.90"), ("cache_read", "0.30", "0.225"), ("output", "1.20", "0.90"))
    return [
        RateCardPrice(
            TOGETHER,
            SEARCH_MODEL,
            service_tier,
            kind,
            Decimal(before) * multiplier,
            Decimal(after) * multiplier,
        )
        for kind, before, after in prices
    ]


RATE_CARD: Final = (
    *_search_prices(STANDARD, Decimal(1)),
    *_search_prices(BATCH, Decimal("0.5")),
    *(
        RateCardPrice(AZURE, CHAT_MODEL, STANDARD, kind, Decimal(price), Decimal(price))
        for kind, price in (("input", "2.00"), ("cache_read", "0.50"), ("output", "8.00"))
    ),
)
