{{ models_resolved('int_billing__models_reported', 'int_billing__model_matches', 'line_count') }}
