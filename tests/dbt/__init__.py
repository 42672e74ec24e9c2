"""Tests of the dbt project: unit tests of models, generic data tests that bite, SQL that another engine can run."""
