{{ model_matches('int_usage__models_reported') }}
