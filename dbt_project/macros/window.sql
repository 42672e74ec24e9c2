{#-
    The window of UTC days that a run builds. Only the run's own vars decide it, so a model's SQL is the
    same for one day, for a range and for everything.
-#}

{#- The first day of the window, optionally some days earlier. -#}
{% macro window_start(days_before=0) -%}
    {%- set start = modules.datetime.date.fromisoformat(var('min_date')) -%}
    {%- if days_before and start.toordinal() > days_before -%}
        {%- set start = start - modules.datetime.timedelta(days=days_before) -%}
    {%- endif -%}
    cast('{{ start.isoformat() }}' as date)
{%- endmacro %}

{#- The first day of the month in which the window starts. -#}
{% macro window_month_start() -%}
    {%- set start = modules.datetime.date.fromisoformat(var('min_date')) -%}
    cast('{{ start.replace(day=1).isoformat() }}' as date)
{%- endmacro %}

{#- The last day of the window, inclusive, optionally some days later. -#}
{% macro window_end(days_after=0) -%}
    {%- set end = modules.datetime.date.fromisoformat(var('max_date')) -%}
    {%- if days_after and end.year < 9999 -%}
        {%- set end = end + modules.datetime.timedelta(days=days_after) -%}
    {%- endif -%}
    cast('{{ end.isoformat() }}' as date)
{%- endmacro %}

{#- A predicate: the day column lies inside the window. -#}
{% macro in_window(day_column, days_before=0, days_after=0) -%}
    {{ day_column }} between {{ window_start(days_before) }} and {{ window_end(days_after) }}
{%- endmacro %}

{#-
    Incremental strategy `replace_days`: delete the window's days from the target and insert what was built.
    The model names its day column (`day_column`) and the variable that says how many days around the window it
    rebuilds (`rebuild_days_around`).
-#}
{% macro get_incremental_replace_days_sql(arg_dict) -%}
    {%- set day_column = config.require('day_column') -%}
    {%- set around = config.get('rebuild_days_around') -%}
    {%- set days = var(around) if around else 0 -%}
    {%- set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') -%}
    delete from {{ arg_dict['target_relation'] }}
    where {{ in_window(day_column, days_before=days, days_after=days) }};

    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }}
    from {{ arg_dict['temp_relation'] }}
{%- endmacro %}
