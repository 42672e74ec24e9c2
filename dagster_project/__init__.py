"""tokenledger: the ledger of generative-AI spend.

Orchestration and Python live here; SQL models live in `dbt_project/`, reference data in `seeds/`.
"""
