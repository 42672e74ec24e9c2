{#-
    SQL of the rules in `usage_dialects`. What they use of each other they write as text and do not return: sqlfluff
    takes the first return of a macro that is called in its own file for the return of the caller.
-#}

{#- The column that holds a member of the usage block. -#}
{% macro member_column(member) -%}
    {%- set name = member | lower | replace('.', '__') | replace('/', '__') | replace('-', '_') | replace('*', 'all') -%}
    at_{{ name | replace('[', '_of_') | replace(']', '') | replace('=', '_') | replace(',', '_') }}
{%- endmacro %}

{#- One member, read. -#}
{% macro member_of(json, member) -%}
    {%- if '[' in member -%}
        {%- set list_path, rest = member.split('[') -%}
        {%- set filter, count_path = rest.split('].') -%}
        {%- set key, wanted = ('', '') if filter == '*' else filter.split('=') -%}
        {{ json_items_sum(json, list_path, key, wanted.split(','), count_path) }}
    {%- else -%}
        {{ count_of_text(json_text_at(json, member)) }}
    {%- endif -%}
{%- endmacro %}

{#- Every member that any rule reads, as a column that only the dialects with such a rule fill. -#}
{% macro usage_members(json) -%}
    {%- set dialects_by_member = {} -%}
    {%- for dialect, rule in usage_dialects().items() -%}
        {%- for terms in [rule['input'], rule.get('output', []), rule.get('total', [])] + (rule['kinds'].values() | list) -%}
            {%- for member in (terms | join('|') | replace('?', '')).split('|') if member -%}
                {%- set dialects = dialects_by_member.setdefault(member | trim('-'), []) -%}
                {%- if dialect not in dialects -%}{%- do dialects.append(dialect) -%}{%- endif -%}
            {%- endfor -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- for member, dialects in dialects_by_member.items() %}
        case
            when dialect_type in ('{{ dialects | join("', '") }}')
                then {{ member_of(json, member) }}
        end as {{ member_column(member) }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{#- A sum of terms over the columns of `usage_members`. -#}
{% macro usage_sum(terms, is_whole) -%}
    {%- set sum = [] -%}
    {%- set every = [] -%}
    {%- set required = [] -%}
    {%- for term in terms -%}
        {%- set columns = [] -%}
        {%- for member in (term | replace('?', '') | trim('-')).split('|') -%}
            {%- do columns.append(member_column(member)) -%}
        {%- endfor -%}
        {%- do every.extend(columns) -%}
        {%- if is_whole and not (term.endswith('?') or term.startswith('-')) -%}
            {%- do required.append(term) -%}
        {%- else -%}
            {%- do columns.append('0') -%}
        {%- endif -%}
        {%- do sum.append('- ' if term.startswith('-') else '+ ' if not loop.first else '') -%}
        {%- do sum.append((columns | first) if columns | length == 1 else 'coalesce(' ~ columns | join(', ') ~ ')') -%}
        {%- do sum.append(' ' if not loop.last else '') -%}
    {%- endfor -%}
    {%- if is_whole and not required -%}
        case when coalesce({{ every | join(', ') }}) is not null then {{ sum | join }} end
    {%- else -%}
        {{ sum | join }}
    {%- endif -%}
{%- endmacro %}

{#- A part of the rule (`input`, `output`, `total` or a kind) of the row's dialect. -#}
{% macro usage_of_dialect(part) -%}
    {%- set is_whole = part in ('input', 'output', 'total') -%}
    {%- set dialects_by_sum = {} -%}
    {%- for dialect, rule in usage_dialects().items() -%}
        {%- set terms = rule.get(part) if is_whole else rule['kinds'].get(part) -%}
        {%- if terms -%}
            {%- do dialects_by_sum.setdefault(usage_sum(terms, is_whole), []).append(dialect) -%}
        {%- elif part == 'output' -%}
            {%- do dialects_by_sum.setdefault('0', []).append(dialect) -%}
        {%- endif -%}
    {%- endfor -%}
    case
        {%- for sum, dialects in dialects_by_sum.items() %}
            when dialect_type in ('{{ dialects | join("', '") }}')
                then {{ sum }}
        {%- endfor %}
        {%- if not is_whole %}
            else 0
        {%- endif %}
        end
{%- endmacro %}

{#- The kinds of `other_units` that any dialect counts. -#}
{% macro other_kinds_of_dialects() -%}
    {%- set kinds = [] -%}
    {%- for rule in usage_dialects().values() -%}
        {%- for kind in rule['kinds'] if kind in other_unit_kinds() and kind not in kinds -%}
            {%- do kinds.append(kind) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(kinds | sort) }}
{%- endmacro %}

{#- What the vendor itself says that the call cost; null when it says nothing. xAI counts in units of 1e-10 USD. -#}
{% macro reported_cost_usd(json) -%}
    case
        when dialect_type in ('openrouter', 'openrouter_responses')
            then try_cast({{ json_text_at(json, 'cost') }} as decimal(38, 15))
        when dialect_type = 'xai'
            then cast(
                try_cast({{ json_text_at(json, 'cost_in_usd_ticks') }} as decimal(18, 0)) * 0.0000000001
                as decimal(38, 15)
            )
    end
{%- endmacro %}
