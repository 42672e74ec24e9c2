{{ model_matches('int_billing__models_reported') }}
