{#-
    What differs between engines. Models call these and stay engine-neutral: `default__` is Spark SQL, and what is
    DuckDB's alone is written in `duckdb__` macros, here and nowhere else.
-#}

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
    {{ return(adapter.dispatch('json_object_of')(columns)) }}
{%- endmacro %}

{% macro default__json_object_of(columns) -%}
    to_json(named_struct({% for column in columns %}'{{ column }}', {{ column }}{{ ', ' if not loop.last }}{% endfor %}))
{%- endmacro %}

{% macro duckdb__json_object_of(columns) -%}
    to_json(struct_pack({% for column in columns %}{{ column }} := {{ column }}{{ ', ' if not loop.last }}{% endfor %}))
{%- endmacro %}

{#- One hash of the columns' values; null is a value of its own. -#}
{% macro content_hash(columns) -%}
    md5(concat_ws(
        '|'{% for column in columns %},
        coalesce(cast({{ column }} as varchar), 'null'){% endfor %}
    ))
{%- endmacro %}

{#- Is the regular expression found in the text? -#}
{% macro regexp_found(text, pattern) -%}
    {{ return(adapter.dispatch('regexp_found')(text, pattern)) }}
{%- endmacro %}

{% macro default__regexp_found(text, pattern) -%}
    ({{ text }} rlike {{ pattern }})
{%- endmacro %}

{% macro duckdb__regexp_found(text, pattern) -%}
    regexp_matches({{ text }}, {{ pattern }})
{%- endmacro %}

{#- Microseconds from one instant to a later one. -#}
{% macro microseconds_between(start_at, end_at) -%}
    {{ return(adapter.dispatch('microseconds_between')(start_at, end_at)) }}
{%- endmacro %}

{% macro default__microseconds_between(start_at, end_at) -%}
    (unix_micros({{ end_at }}) - unix_micros({{ start_at }}))
{%- endmacro %}

{% macro duckdb__microseconds_between(start_at, end_at) -%}
    (epoch_us({{ end_at }}) - epoch_us({{ start_at }}))
{%- endmacro %}

{#- Interpolated quantile of a money column; a statistic, so floating point. -#}
{% macro quantile(expression, q) -%}
    {{ return(adapter.dispatch('quantile')(expression, q)) }}
{%- endmacro %}

{% macro default__quantile(expression, q) -%}
    percentile(cast({{ expression }} as double), {{ q }})
{%- endmacro %}

{% macro duckdb__quantile(expression, q) -%}
    quantile_cont(cast({{ expression }} as double), {{ q }})
{%- endmacro %}

{#- The published quantile: null unless the sample carries it, n (1 - q) >= 5. -#}
{% macro honest_quantile(expression, q) -%}
    case
        when count({{ expression }}) * (1 - {{ q }}) >= 5
            then {{ quantile(expression, q) }}
    end
{%- endmacro %}

{#- The first instant of an instant's hour, in the session's time zone, which is UTC. -#}
{% macro utc_hour(instant) -%}
    date_trunc('hour', {{ instant }})
{%- endmacro %}
