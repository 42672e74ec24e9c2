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

{#- Minutes from Monday 00:00 UTC to an instant's minute; the epoch began on a Thursday. -#}
{% macro week_minute(instant) -%}
    {{ return(adapter.dispatch('week_minute')(instant)) }}
{%- endmacro %}

{% macro default__week_minute(instant) -%}
    cast(mod(floor(unix_seconds({{ instant }}) / 60) + 4320, 10080) as int)
{%- endmacro %}

{% macro duckdb__week_minute(instant) -%}
    cast(((epoch_us({{ instant }}) // 60000000) + 4320) % 10080 as integer)
{%- endmacro %}

{#- A map from the rows' keys to their values, of the rows that meet the condition, in the order of the keys:
    two maps of the same entries are equal only in the same order. Null when no row does. -#}
{% macro map_of(key, value, condition) -%}
    {{ return(adapter.dispatch('map_of')(key, value, condition)) }}
{%- endmacro %}

{% macro default__map_of(key, value, condition) -%}
    map_from_entries(array_sort(collect_list(struct({{ key }}, {{ value }})) filter (where {{ condition }})))
{%- endmacro %}

{% macro duckdb__map_of(key, value, condition) -%}
    map_from_entries(
            list(struct_pack(k := {{ key }}, v := {{ value }}) order by {{ key }}) filter (where {{ condition }})
        )
{%- endmacro %}

{#- Σ quantity × price over a map of quantities and one of prices; null as soon as a price is missing. -#}
{% macro sum_of_products(quantities, prices) -%}
    {{ return(adapter.dispatch('sum_of_products')(quantities, prices)) }}
{%- endmacro %}

{% macro default__sum_of_products(quantities, prices) -%}
    aggregate(
            map_entries({{ quantities }}),
            cast(0 as decimal(38, 15)),
            (total, entry) -> cast(total + entry.value * {{ prices }}[entry.key] as decimal(38, 15))
        )
{%- endmacro %}

{% macro duckdb__sum_of_products(quantities, prices) -%}
    list_reduce(
            list_transform(
                map_entries({{ quantities }}),
                lambda entry: cast(entry.value * {{ prices }}[entry.key] as decimal(38, 15))
            ),
            lambda total, cost: cast(total + cost as decimal(38, 15)),
            cast(0 as decimal(38, 15))
        )
{%- endmacro %}

{#- One text of all rows' columns in a group, the same in whatever order the rows come. -#}
{% macro content_of_group(columns) -%}
    {{ return(adapter.dispatch('content_of_group')(columns)) }}
{%- endmacro %}

{% macro default__content_of_group(columns) -%}
    array_join(
            array_sort(collect_list(concat_ws(
                '|'{% for column in columns %}, coalesce(cast({{ column }} as string), 'null'){% endfor %}
            ))),
            ';'
        )
{%- endmacro %}

{% macro duckdb__content_of_group(columns) -%}
    array_to_string(
            list_sort(list(concat_ws(
                '|'{% for column in columns %}, coalesce(cast({{ column }} as varchar), 'null'){% endfor %}
            ))),
            ';'
        )
{%- endmacro %}

{#- One row per entry of a map, as a structure of key and value. -#}
{% macro exploded_entries(map) -%}
    {{ return(adapter.dispatch('exploded_entries')(map)) }}
{%- endmacro %}

{% macro default__exploded_entries(map) -%}
    explode(map_entries({{ map }}))
{%- endmacro %}

{% macro duckdb__exploded_entries(map) -%}
    unnest(map_entries({{ map }}))
{%- endmacro %}

{#- The type of a column that counts units by their kind. -#}
{% macro unit_map_type() -%}
    {{ return(adapter.dispatch('unit_map_type')()) }}
{%- endmacro %}

{% macro default__unit_map_type() -%}
    map<string, decimal(18, 3)>
{%- endmacro %}

{% macro duckdb__unit_map_type() -%}
    map(varchar, decimal(18, 3))
{%- endmacro %}

{#- The map of those kinds of which units were used; null when there are none. `quantities` are not null. -#}
{% macro unit_map_of(quantities) -%}
    {{ return(adapter.dispatch('unit_map_of')(quantities)) }}
{%- endmacro %}

{% macro default__unit_map_of(quantities) -%}
    case
        when {% for quantity in quantities.values() %}{{ quantity }} <> 0{{ ' or ' if not loop.last }}{% endfor %}
            then map_from_entries(filter(
                array(
                    {%- for kind, quantity in quantities.items() %}
                    named_struct('k', '{{ kind }}', 'v', cast({{ quantity }} as decimal(18, 3))){{ ',' if not loop.last }}
                    {%- endfor %}
                ),
                entry -> entry.v <> 0
            ))
    end
{%- endmacro %}

{% macro duckdb__unit_map_of(quantities) -%}
    case
        when {% for quantity in quantities.values() %}{{ quantity }} <> 0{{ ' or ' if not loop.last }}{% endfor %}
            then map_from_entries(list_filter(
                list_value(
                    {%- for kind, quantity in quantities.items() %}
                    struct_pack(k := '{{ kind }}', v := cast({{ quantity }} as decimal(18, 3))){{ ',' if not loop.last }}
                    {%- endfor %}
                ),
                lambda entry: struct_extract(entry, 'v') <> 0
            ))
    end
{%- endmacro %}

{#- The text at a path of a JSON text, its members separated by slashes; null when there is none. -#}
{% macro json_text_at(json, path) -%}
    {{ return(adapter.dispatch('json_text_at')(json, path)) }}
{%- endmacro %}

{% macro default__json_text_at(json, path) -%}
    get_json_object({{ json }}, {{ '"$[\'' ~ path.split('/') | join("']['") ~ '\']"' }})
{%- endmacro %}

{% macro duckdb__json_text_at(json, path) -%}
    json_extract_string({{ json }}, '/{{ path }}')
{%- endmacro %}

{#- A text as a whole number; null when it is none. -#}
{% macro count_of_text(text) -%}
    cast(try_cast({{ text }} as decimal(38, 3)) as bigint)
{%- endmacro %}

{#- Σ of a count over the items of a JSON list, if `key` is named over those where it is one of `values`; null without any. -#}
{% macro json_items_sum(json, list_path, key, values, count_path) -%}
    {{ return(adapter.dispatch('json_items_sum')(json, list_path, key, values, count_path)) }}
{%- endmacro %}

{% macro default__json_items_sum(json, list_path, key, values, count_path) -%}
    {%- set count = count_of_text(default__json_text_at('item', count_path)) -%}
    aggregate(
        filter(
            from_json({{ default__json_text_at(json, list_path) }}, 'array<string>'),
            item -> {% if key %}{{ default__json_text_at('item', key) }} in ('{{ values | join("', '") }}'){% else %}true{% endif %}
        ),
        cast(null as bigint),
        (total, item) -> coalesce(total + {{ count }}, total, {{ count }})
    )
{%- endmacro %}

{% macro duckdb__json_items_sum(json, list_path, key, values, count_path) -%}
    cast(list_sum(list_transform(
        list_filter(
            try_cast(json_extract({{ json }}, '/{{ list_path }}') as json[]),
            lambda item: {% if key %}{{ duckdb__json_text_at('item', key) }} in ('{{ values | join("', '") }}'){% else %}true{% endif %}
        ),
        lambda item: {{ count_of_text(duckdb__json_text_at('item', count_path)) }}
    )) as bigint)
{%- endmacro %}

{#- A text that is JSON, as it is; null in place of any other text, at which DuckDB would stop. -#}
{% macro json_or_null(text) -%}
    {{ return(adapter.dispatch('json_or_null')(text)) }}
{%- endmacro %}

{% macro default__json_or_null(text) -%}
    {{ text }}
{%- endmacro %}

{% macro duckdb__json_or_null(text) -%}
    case when json_valid({{ text }}) then {{ text }} end
{%- endmacro %}

{#- The text of a member of a JSON object whose name is a column's; null when there is none. -#}
{% macro json_text_of_member(json, name) -%}
    {{ return(adapter.dispatch('json_text_of_member')(json, name)) }}
{%- endmacro %}

{% macro default__json_text_of_member(json, name) -%}
    get_json_object({{ json }}, concat('$.', {{ name }}))
{%- endmacro %}

{% macro duckdb__json_text_of_member(json, name) -%}
    json_extract_string({{ json }}, concat('$."', {{ name }}, '"'))
{%- endmacro %}
