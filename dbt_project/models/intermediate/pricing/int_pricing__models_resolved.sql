{{ models_resolved('int_usage__models_reported', 'int_pricing__model_matches', 'call_count') }}
