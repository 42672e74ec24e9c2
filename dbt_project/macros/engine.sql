{#- What differs between engines. Models call these and stay engine-neutral. -#}

{#- Whole-number quotient of two non-negative whole numbers, exact past 64 bits. -#}
{% macro integer_divide(numerator, denominator) -%}
    {{ return(adapter.dispatch('integer_divide')(numerator, denominator)) }}
{%- endmacro %}

{% macro default__integer_divide(numerator, denominator) -%}
    (cast({{ numerator }} as decimal(38, 0)) div cast({{ denominator }} as decimal(38, 0)))
{%- endmacro %}

{% macro duckdb__integer_divide(numerator, denominator) -%}
    (cast({{ numerator }} as hugeint) // cast({{ denominator }} as hugeint))
{%- endmacro %}

{#- A JSON object of the named columns. -#}
{% macro json_object_of(columns) -%}
    to_json(struct_pack({% for column in columns %}{{ column }} := {{ column }}{{ ', ' if not loop.last }}{% endfor %}))
{%- endmacro %}

{#- Is the regular expression found in the text? -#}
{% macro regexp_found(text, pattern) -%}
    regexp_matches({{ text }}, {{ pattern }})
{%- endmacro %}

{#- Interpolated quantile of a money column; a statistic, so floating point. -#}
{% macro quantile(expression, q) -%}
    quantile_cont(cast({{ expression }} as double), {{ q }})
{%- endmacro %}

{#- The published quantile: null unless the sample carries it, n (1 - q) >= 5. -#}
{% macro honest_quantile(expression, q) -%}
    case
        when count({{ expression }}) * (1 - {{ q }}) >= 5
            then {{ quantile(expression, q) }}
    end
{%- endmacro %}

{#- The UTC day of an instant, and its hour. -#}
{% macro utc_hour(instant) -%}
    date_trunc('hour', {{ instant }})
{%- endmacro %}
