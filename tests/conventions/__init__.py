"""Tests of the repository itself: layout, language, imports, README, seeds, grammar of the dbt project."""
